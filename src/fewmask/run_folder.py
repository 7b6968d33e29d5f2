"""The run folder: everything that a run wrote, and all that prediction needs."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from fewmask.config import Experiment, load_experiment
from fewmask.data.split import Split
from fewmask.errors import ConfigError, DataError, RunError, nearest
from fewmask.files import read_json, sweep, write_json
from fewmask.locks import NAME as LOCK
from fewmask.locks import held
from fewmask.places import inside, refuse_links_in
from fewmask.task import Task
from fewmask.temporary import FILE
from fewmask.whole import read_whole, write_whole

T = TypeVar("T")
FREE = ("sampling.workers", "train.accelerator", "train.log_every", "train.checkpoint_every", "train.loggers")
TRACKED = ("tensorboard", "wandb")
"""Folders into which trackers write."""
IN_PLACE = ("checkpoints", "predictions", "mlflow.db", "mlflow.db-journal", "mlflow.db-wal", "mlflow.db-shm")
"""What else a training, `fewmask predict` or a tracker writes below, or in place."""
PACKAGES = ("fewmask", "torch", "lightning-fabric", "numpy", "scipy", "nibabel", "SimpleITK")


class RunFolder:
    """Paths and small files of a run; self-sufficient and safe to move.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.csv"
        self.checkpoints = self.path / "checkpoints"
        self.state = self.checkpoints / "last.pt"
        self.predictions = self.path / "predictions"
        self.report = self.path / "report.html"

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other trainings out for the block, and clear away what a killed one left half written.

        The folder is made, and goes again if the block leaves it empty.

        Raises:
            RunError: another process trains into the folder (says which), or it is a file.
            WriteError: the folder cannot be made or written, or a link in it leads elsewhere.
        """
        if self.path.is_file():
            raise RunError(f"{self.path} is a file: choose a folder as --output")
        with held(self.path):
            for name in IN_PLACE:
                inside(self.path, name)
            refuse_links_in(self.path, *TRACKED)
            if self.started or self.empty:
                sweep(self.path, keep=self.report.name)
                sweep(self.checkpoints)
            yield

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """An existing run.

        Raises:
            RunError: there is no run at ``path``.
        """
        run = cls(path)
        if not run.config.is_file():
            raise RunError(
                f"{run.path} is not a run folder (no config.yaml in it): give the --output folder of a fewmask train"
            )
        return run

    @property
    def started(self) -> bool:
        """Whether something was already written here."""
        return self.config.exists()

    @property
    def created(self) -> bool:
        """Whether all that `create` writes is here: its last file is."""
        return (self.path / "environment.json").exists()

    @property
    def empty(self) -> bool:
        """Whether nothing is here but the lock of `hold`, and the first file of a start that was killed."""
        return not self.path.exists() or all(
            entry.name == LOCK or entry.name.startswith(FILE) for entry in self.path.iterdir()
        )

    @property
    def resumable(self) -> bool:
        """Whether a training has come so far that there is something to continue."""
        return self.checkpoints.is_dir() and any(self.checkpoints.iterdir())

    def create(self, experiment: Experiment, task: Task, split: Split, dataset: dict[str, Any]) -> None:
        """Write what is known before the first step: config, task, split, dataset description, environment."""
        write_whole(self.config, experiment.to_yaml())  # first: a folder without it is taken for somebody else's
        write_json(self.path / "task.json", task.to_dict())
        write_json(self.path / "split.json", split.model_dump(mode="json"))
        write_json(self.path / "dataset.json", dataset)
        write_json(self.path / "environment.json", environment())

    def experiment(self) -> Experiment:
        """The resolved config of the run."""
        self._usable(self.config, lambda: read_whole(self.config))
        return self._usable(self.config, lambda: load_experiment(self.config))

    def task(self) -> Task:
        """The task that the networks were built for."""
        return self._usable(self.path / "task.json", lambda: Task.from_dict(self._json("task.json")))

    def split(self) -> Split:
        """Which cases were labelled, unlabelled, for validation and for test."""
        path = self.path / "split.json"
        return self._usable(path, lambda: Split.from_values(self._json("split.json"), str(path)))

    def dataset(self) -> dict[str, Any]:
        """Name, classes, channels and file ending of the data set, and its folder at the time of training."""
        return self._usable(self.path / "dataset.json", lambda: _description(self._json("dataset.json")))

    def _usable(self, path: Path, read: Callable[[], T]) -> T:
        """What ``read`` makes of a file of the run; a file that is not as it was written is the run's fault, not the user's."""
        try:
            return read()
        except (ConfigError, DataError, TypeError, ValueError, KeyError, AttributeError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else str(error).removeprefix(f"{path}: ")
            raise RunError(f"{path}: is not as a training wrote it ({reason}); copy the run folder anew") from None

    def weights(self, which: str = "auto") -> Path:
        """The file with the predictor's weights.

        Args:
            which: ``last``, ``best`` (on validation), or ``auto``: best where it exists.

        Raises:
            ConfigError: ``which`` is none of these.
            RunError: the file is not there.
        """
        best, last = self.checkpoints / "best.safetensors", self.checkpoints / "last.safetensors"
        files = {"best": best, "last": last, "auto": best if best.exists() else last}
        if which not in files:
            raise ConfigError(f"there are no weights called {which!r}: {nearest(which, files)}")
        path = files[which]
        if not path.exists():
            hint = (
                "the split has no validation cases"
                if which == "best"
                else "the training has not reached its first checkpoint"
            )
            raise RunError(f"{path} does not exist: {hint}; see checkpoints/ of the run for what does")
        return path

    def last_row(self) -> int:
        """The iteration of the last row of ``metrics.csv`` before the last checkpoint, as its weights say; 0 where none or older ones do."""
        from safetensors import SafetensorError

        from fewmask.inference.weights import read_notes

        try:
            return int(read_notes(self.checkpoints / "last.safetensors").get("row", 0))
        except (OSError, SafetensorError, TypeError, ValueError):  # who predicts with it says what is wrong with it
            return 0

    def kept(self, phase: str) -> Path:
        """The file with the weights that a phase has left for other runs."""
        return self.checkpoints / f"{phase}.safetensors"

    def check_same(self, experiment: Experiment, split: Split) -> None:
        """Refuse to continue a run under settings that would change its result; `FREE` ones may differ.

        Raises:
            ConfigError: names the settings that differ.
        """
        old, new = _comparable(self.experiment()), _comparable(experiment)
        changed = [
            f"{key} ({old.get(key)!r} then, {new.get(key)!r} now)"
            for key in sorted({*old, *new}.difference(FREE))
            if old.get(key) != new.get(key)
        ]
        if not self.split().same_as(split):
            changed.append("the split")
        if changed:
            raise ConfigError(
                f"{self.path} was started with other settings: {'; '.join(changed)}; choose another --output to start anew"
            )

    def _json(self, name: str) -> dict[str, Any]:
        try:
            values: dict[str, Any] = read_json(self.path / name)
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / name} cannot be read ({error}): the run folder is not complete") from None
        return values


def _description(values: dict[str, Any]) -> dict[str, Any]:
    for key in ("channel_names", "class_names"):
        if not isinstance(values[key], list) or not all(isinstance(name, str) for name in values[key]):
            raise ValueError(f"{key} is {values[key]!r}")
    return values


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _comparable(experiment: Experiment) -> dict[str, Any]:
    """Dotted keys and values; how the processes lie on nodes does not matter, only how many there are."""
    values = flatten(experiment.model_dump(mode="json"))
    return values | {"train.devices x train.nodes": values.pop("train.devices") * values.pop("train.nodes")}


def environment() -> dict[str, Any]:
    """What the run ran on: versions, platform, command."""
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
