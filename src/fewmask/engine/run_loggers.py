"""All loggers of a run together: the csv file must be written, what the extras do may fail."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping

from fewmask.config import Experiment
from fewmask.engine.loggers import CsvLogger, Logger
from fewmask.engine.trackers import (
    MlflowLogger,
    TensorBoardLogger,
    WandbLogger,
    load_mlflow,
    load_tensorboard,
    load_wandb,
)
from fewmask.errors import ConfigError, FewmaskWarning, in_one_line
from fewmask.run_folder import RunFolder

TRACKERS: dict[str, Callable[[RunFolder, Experiment, int], Logger]] = {
    "tensorboard": TensorBoardLogger,
    "mlflow": MlflowLogger,
    "wandb": WandbLogger,
}
_PACKAGES = {"tensorboard": load_tensorboard, "mlflow": load_mlflow, "wandb": load_wandb}


def check_loggers(names: tuple[str, ...]) -> None:
    """Import what loggers need, before hours are spent on what comes before them.

    Raises:
        ConfigError: a package is not installed.
    """
    for name in names:
        try:
            _PACKAGES[name]()
        except ImportError as error:
            raise ConfigError(
                f"train.loggers: {name} needs a package that is not here ({error}): pip install 'fewmask[{name}]'"
            ) from None


class RunLoggers:
    """All loggers of a run: ``metrics.csv``, which must be written, and those of ``train.loggers``, which may fail.

    A tracker that fails ends with a warning, and the training goes on without it.

    Args:
        run: the run folder.
        experiment: its config.
        after: the iteration that the training continues from.

    Raises:
        WriteError: ``metrics.csv`` cannot be written.
    """

    def __init__(self, run: RunFolder, experiment: Experiment, after: int = 0) -> None:
        self.trackers: dict[str, Logger] = {}
        for name in dict.fromkeys(experiment.train.loggers):
            with self._forgiven(name):
                self.trackers[name] = TRACKERS[name](run, experiment, after)
        try:
            self.csv = CsvLogger(
                run.metrics, after
            )  # last: it drops the rows after the checkpoint, which trackers may have
        except BaseException:
            self.close()
            raise

    def log(self, iteration: int, values: Mapping[str, float | str]) -> None:
        """One row.

        Raises:
            WriteError: ``metrics.csv`` cannot be written.
        """
        self.csv.log(iteration, values)
        self._all(lambda tracker: tracker.log(iteration, values))

    def finish(self, scores: Mapping[str, float]) -> None:
        """The training is done; its last scores."""
        self._all(lambda tracker: tracker.finish(scores))

    def close(self) -> None:
        """Release everything."""
        self._all(lambda tracker: tracker.close())

    def _all(self, act: Callable[[Logger], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            with self._forgiven(name):
                act(tracker)

    @contextlib.contextmanager
    def _forgiven(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a full disk, a server that is away: no reason to lose a training
            self.trackers.pop(name, None)
            message = f"train.loggers: {name} has failed ({in_one_line(error)}); the training goes on without it, metrics.csv has all rows"
            warnings.warn(message, FewmaskWarning, stacklevel=4)
