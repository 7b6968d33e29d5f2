"""Loggers of other projects, as extras: TensorBoard, MLflow and Weights & Biases, all into the run folder and off the network.

MLflow and W&B go elsewhere where their own environment variables say so: ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``,
``WANDB_MODE``, ``WANDB_PROJECT``.
"""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from fewmask.config import Experiment
from fewmask.engine.loggers import read_metrics
from fewmask.files import read_json, write_json
from fewmask.run_folder import RunFolder, flatten

PROJECT = "fewmask"
_BATCH = 100  # parameters in one request to MLflow, at most
_LONGEST = 500  # characters of a parameter, which every version of MLflow takes


def numbers_of(values: Mapping[str, float | str]) -> dict[str, float]:
    """The values that are numbers."""
    return {name: float(value) for name, value in values.items() if isinstance(value, float)}


class TensorBoardLogger:
    """Scalars as TensorBoard events, in ``tensorboard/``.

    Args:
        run: the run folder.
        experiment: its config, shown as text.
        after: the iteration that the run continues from; events of later ones, which will come again, are hidden.
    """

    def __init__(self, run: RunFolder, experiment: Experiment, after: int = 0) -> None:
        summary = load_tensorboard()
        self.writer = summary.SummaryWriter(str(run.path / "tensorboard"), purge_step=after + 1 if after else None)
        self.last = after
        if not after:
            self.writer.add_text("config", "".join(f"    {line}\n" for line in experiment.to_yaml().splitlines()))

    def log(self, iteration: int, values: Mapping[str, float | str]) -> None:
        """One scalar a name; text is left out."""
        self.last = iteration
        for name, value in numbers_of(values).items():
            self.writer.add_scalar(name, value, iteration)

    def finish(self, scores: Mapping[str, float]) -> None:
        """The last scores, at the last iteration."""
        self.log(self.last, scores)

    def close(self) -> None:
        """Flush the events."""
        self.writer.close()


class MlflowLogger:
    """A run of MLflow: in ``mlflow.db`` (SQLite) of the run folder, or where ``MLFLOW_TRACKING_URI`` says.

    A training that continues goes on in the same run, after the last row that MLflow has.

    Args:
        run: the run folder.
        experiment: its config; the run's parameters.
        after: the iteration that the training continues from.
    """

    def __init__(self, run: RunFolder, experiment: Experiment, after: int = 0) -> None:
        mlflow = load_mlflow()
        self.entities = mlflow.entities
        # An absolute path, for the database is opened anew by every thread.
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run.path.resolve() / 'mlflow.db').as_posix()}"
        self.client = mlflow.tracking.MlflowClient(tracking_uri=uri)
        self.done = False
        known = _identity(run, "mlflow")
        self.id = self._continued(known) or self._begun(run, experiment)
        _remember(run, "mlflow", self.id)
        rows = self.client.get_metric_history(self.id, "lr") if known == self.id else ()
        self.seen = max((row.step for row in rows), default=0)

    def _continued(self, known: str | None) -> str | None:
        """The id of an earlier run that is still there, which is then under way again."""
        if known is None:
            return None
        try:
            self.client.update_run(known, status="RUNNING")
        except Exception:  # another store, or somebody has deleted it
            return None
        return known

    def _begun(self, run: RunFolder, experiment: Experiment) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(name)
        place = found.experiment_id if found else self.client.create_experiment(name)
        tags = {"method": experiment.method.name, "run_folder": str(run.path)}
        made = self.client.create_run(place, run_name=run.path.resolve().name, tags=tags).info.run_id
        settings = [
            self.entities.Param(key, str(value)[:_LONGEST])
            for key, value in flatten(experiment.model_dump(mode="json")).items()
        ]
        for first in range(0, len(settings), _BATCH):
            self.client.log_batch(made, params=settings[first : first + _BATCH])
        return str(made)

    def log(self, iteration: int, values: Mapping[str, float | str]) -> None:
        """One metric a name; text is left out, and rows that are there already."""
        if iteration > self.seen:
            self._write(iteration, values)

    def _write(self, iteration: int, values: Mapping[str, float | str]) -> None:
        now = int(1000 * time.time())
        rows = [self.entities.Metric(name, value, now, iteration) for name, value in numbers_of(values).items()]
        self.client.log_batch(self.id, metrics=rows)
        self.seen = iteration

    def finish(self, scores: Mapping[str, float]) -> None:
        """The last scores; the run is marked as finished."""
        self._write(self.seen, scores)
        self.client.set_terminated(self.id, "FINISHED")
        self.done = True

    def close(self) -> None:
        """A run that was not finished is marked as killed."""
        if not self.done:
            self.client.set_terminated(self.id, "KILLED")


class WandbLogger:
    """A run of Weights & Biases: offline in ``wandb/`` of the run folder, until ``wandb sync``, or as ``WANDB_MODE`` says.

    A training that continues has the same run id; offline, its rows are a further file, and ``wandb sync`` puts them together.

    Args:
        run: the run folder.
        experiment: its config.
        after: the iteration that the training continues from.
    """

    def __init__(self, run: RunFolder, experiment: Experiment, after: int = 0) -> None:
        wandb = load_wandb()
        known = _identity(run, "wandb")
        name = known or uuid.uuid4().hex[:12]
        # W&B's steps only grow, and offline nobody can be asked how far they came: metrics.csv still has the rows after the checkpoint.
        self.seen = max((int(row["iteration"]) for row in read_metrics(run.metrics)), default=0) if known else 0
        self.run = wandb.init(
            id=name,
            resume="allow",
            reinit="create_new",  # whoever trains from Python may have a run of their own
            mode=os.environ.get("WANDB_MODE", "offline"),
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.path.resolve().name,
            dir=str(run.path),
            config=experiment.model_dump(mode="json"),
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
        )
        _remember(run, "wandb", name)
        self.done = False

    def log(self, iteration: int, values: Mapping[str, float | str]) -> None:
        """One row; rows that are there already are left out."""
        if iteration > self.seen:
            self.run.log(dict(values), step=iteration)

    def finish(self, scores: Mapping[str, float]) -> None:
        """The last scores become the run's summary."""
        self.run.summary.update(dict(scores))
        self.run.finish(exit_code=0)
        self.done = True

    def close(self) -> None:
        """A run that was not finished is marked as failed."""
        if not self.done:
            self.run.finish(exit_code=1)


def _identity(run: RunFolder, tracker: str) -> str | None:
    """The name under which a tracker knows the run; none where it does not yet."""
    path = run.path / "trackers.json"
    value = read_json(path).get(tracker) if path.is_file() else None
    return value if isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z]{1,64}", value) else None


def _remember(run: RunFolder, tracker: str, name: str) -> None:
    """Keep the name under which a tracker knows the run, for the training that continues it."""
    path = run.path / "trackers.json"
    write_json(path, {**(read_json(path) if path.is_file() else {}), tracker: name})


def load_tensorboard() -> Any:
    """Torch's part of TensorBoard."""
    return import_module("torch.utils.tensorboard")


def load_mlflow() -> Any:
    """MLflow, quietly."""
    # Said before the import: no report of its use to its makers, and no minutes of waiting for a server that is away.
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        import_module("alembic"), import_module("sqlalchemy")  # of its SQLite store
    import_module("mlflow.tracking"), import_module("mlflow.entities")
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table that it makes
    return import_module("mlflow")


def load_wandb() -> Any:
    """Weights & Biases, quietly."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    wandb = import_module("wandb")
    if not hasattr(wandb, "init"):  # a folder of that name where the program was started
        raise ImportError("No module named 'wandb'")
    return wandb
