"""What the report knows of a run: everything that its folder says."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fewmask.config import Experiment
from fewmask.data.split import Split
from fewmask.engine.loggers import read_all_metrics
from fewmask.errors import RunError
from fewmask.files import read_json
from fewmask.report.scores import Scores, read_scores
from fewmask.run_folder import RunFolder
from fewmask.task import Task
from fewmask.whole import read_whole

T = TypeVar("T")
NOT_CURVES = ("iteration", "phase", "seconds")


@dataclass(frozen=True)
class Curve:
    """A logged number over the training: iterations and values of the rows that have it."""

    iterations: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """A run folder, read.

    Attributes:
        name: tells it from the other runs of the report.
        path: the folder.
        index: its place among the runs; decides its colour.
        experiment: the resolved config.
        config: the same as the text of ``config.yaml``.
        task: what the networks were built for.
        split: who was labelled.
        dataset: ``dataset.json`` of the run.
        environment: ``environment.json``.
        curves: by column of ``metrics.csv``.
        phases: name and first iteration of each.
        seconds: spent on training; None where nothing was logged.
        scores: None where the run was not scored.
    """

    name: str
    path: Path
    index: int
    experiment: Experiment
    config: str
    task: Task
    split: Split
    dataset: Mapping[str, Any]
    environment: Mapping[str, Any]
    curves: Mapping[str, Curve]
    phases: tuple[tuple[str, int], ...]
    seconds: float | None
    scores: Scores | None

    @property
    def method(self) -> str:
        """The method's name."""
        return self.experiment.method.name

    @property
    def iterations(self) -> int:
        """The last iteration that was logged."""
        return max((curve.iterations[-1] for curve in self.curves.values()), default=0)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read run folders, in the order given.

    Raises:
        RunError: no run is given, one is given twice, or a file of one is missing or odd.
    """
    if not paths:
        raise RunError("a report needs at least one run: give the --output folder of a fewmask train")
    resolved = [Path(path).resolve() for path in paths]
    names = run_names(resolved)
    return [read_run(path, name, index) for index, (path, name) in enumerate(zip(resolved, names, strict=True))]


def run_names(paths: Sequence[Path]) -> list[str]:
    """The shortest tails of the paths that tell them apart.

    Raises:
        RunError: a run is given twice.
    """
    paths = [Path(path).resolve() for path in paths]
    for path, count in Counter(paths).items():
        if count > 1:
            raise RunError(f"{path} is given {count} times: give every run once")
    depth = 1
    longest = max(len(path.parts) for path in paths)
    while depth < longest and len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def read_run(path: Path, name: str, index: int) -> Run:
    """Read a run folder; arguments as the attributes of `Run`.

    Raises:
        RunError: a file is missing or odd.
    """
    folder = RunFolder.open(path)
    rows = _usable(folder.metrics, lambda: read_all_metrics(folder.metrics, folder.last_row()))
    dataset = _usable(path / "dataset.json", lambda: _description(folder.dataset()))
    return Run(
        name=name,
        path=path,
        index=index,
        experiment=_usable(folder.config, folder.experiment),
        config=_usable(folder.config, lambda: read_whole(folder.config)),
        task=_usable(path / "task.json", folder.task),
        split=_usable(path / "split.json", folder.split),
        dataset=dataset,
        environment=_usable(path / "environment.json", lambda: _environment(path / "environment.json")),
        curves=_usable(folder.metrics, lambda: _curves(rows)),
        phases=_phases(rows),
        seconds=_usable(folder.metrics, lambda: float(rows[-1]["seconds"]) if rows else None),
        scores=read_scores(path),
    )


def _usable(path: Path, read: Callable[[], T]) -> T:
    """What ``read`` gives; whatever is wrong with the file becomes one sentence."""
    try:
        return read()
    except RunError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunError(f"{path} cannot be used ({reason}): restore it, or leave the run out of the report") from None


def _description(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "name": str(values["name"]),
        "class_names": [str(name) for name in values["class_names"]],
        "channel_names": [str(name) for name in values["channel_names"]],
        "root": Path(values["root"]),
    }


def _environment(path: Path) -> Mapping[str, Any]:
    values = read_json(path)
    return {**values, "packages": dict(values["packages"])}


def _curves(rows: Sequence[Mapping[str, str]]) -> dict[str, Curve]:
    points: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for name, text in row.items():
            if name not in NOT_CURVES and text:
                points.setdefault(name, []).append((int(row["iteration"]), float(text)))
    return {name: Curve(*zip(*pairs, strict=True)) for name, pairs in points.items()}


def _phases(rows: Sequence[Mapping[str, str]]) -> tuple[tuple[str, int], ...]:
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(row.get("phase") or "train", int(row["iteration"]))
    return tuple(first.items())
