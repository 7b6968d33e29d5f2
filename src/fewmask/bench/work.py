"""One job in a process of its own: ``python -m fewmask.bench.work NOTES`` trains, predicts, scores.

NOTES is the job's folder of notes with the file ``job.json``. Standard input is the line to whoever started the process: when it closes,
because that one asks for an end or is gone, the training saves a checkpoint and stops.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from fewmask.allocator import keep_freed_memory
from fewmask.bench.jobs import Job, Place, SplitRule
from fewmask.bench.notes import BUSY, FAILED, STOPPED, Notes
from fewmask.config import load_experiment
from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.distributed import is_follower
from fewmask.engine.interrupt import InterruptedRunError
from fewmask.engine.train import train
from fewmask.errors import FewmaskError, FollowerError, RunError, in_one_line
from fewmask.files import make_folder, read_json, write_json
from fewmask.inference.predictor import Predictor
from fewmask.locks import locked
from fewmask.metrics import evaluate
from fewmask.run_folder import RunFolder
from fewmask.safe_path import leave_current_folder

ORDER = "job.json"


@dataclass(frozen=True)
class Order:
    """A job and where its data lie: all that its process has to know.

    Attributes:
        job: what to do.
        dataset: folder of the data set.
        store: for preprocessed cases; None: inside the data set.
    """

    job: Job
    dataset: Path
    store: Path | None = None

    def write(self) -> None:
        """Put it into the job's notes, from where the process reads it.

        Raises:
            WriteError: the folder cannot be written.
        """
        values = asdict(self) | {"job": asdict(self.job)}
        for name in ("experiment", "alone"):
            experiment = getattr(self.job, name)
            values["job"][name] = None if experiment is None else experiment.model_dump(mode="json")
        make_folder(self.job.notes)
        write_json(self.job.notes / ORDER, _plain(values))

    @classmethod
    def read(cls, notes: Path) -> Order:
        """The order in a folder of notes."""
        values = read_json(notes / ORDER)
        job = values["job"]
        return cls(
            Job(
                Place(**job["place"]),
                Path(job["folder"]),
                Path(job["notes"]),
                load_experiment(changes=job["experiment"]),
                SplitRule(**job["rule"]),
                {key: Path(folder) for key, folder in job["starts_from"].items()},
                None if job["alone"] is None else load_experiment(changes=job["alone"]),
                tuple(job["also"]),
            ),
            Path(values["dataset"]),
            None if values["store"] is None else Path(values["store"]),
        )


def _plain(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    return str(values.resolve()) if isinstance(values, Path) else values


def do_job(order: Order) -> None:
    """Train, predict and score a job as far as that is not done; the scores come last.

    Raises:
        FewmaskError: see `train`, `Predictor.predict_files` and `evaluate`.
    """
    job = order.job
    dataset = Dataset.open(order.dataset)
    split = job.rule.split(dataset)
    job.check_same(split)
    run = RunFolder(job.folder)
    experiment = job.as_found() if run.resumable else job.experiment
    train(experiment, dataset, split, job.folder, resume=True, store=order.store)
    if not is_follower():
        _score(job, run, dataset, split)


def _score(job: Job, run: RunFolder, dataset: Dataset, split: Split) -> None:
    cases = frozenset(split.test)
    predictor = Predictor.from_run(
        run.path
    )  # a job that was stopped, perhaps on another machine, replaces its own files
    predictor.predict_files(dataset.root, run.predictions, cases=cases, overwrite=True)
    settings = job.experiment.evaluation
    result = evaluate(
        run.predictions,
        dataset.root,
        dataset.class_names,
        unit=settings.unit,
        nsd_tolerance=settings.nsd_tolerance,
        also=job.also,
        geometry=job.experiment.preprocess.geometry,
        cases=cases,
    )
    shortcuts = tuple(name for name in split.shortcuts if name != "voxel-units" or settings.unit == "voxel")
    replace(result, shortcuts=shortcuts).write(run.predictions, overwrite=True)


def main(arguments: list[str]) -> int:
    """The process; returns its exit code: 0 done, or one of `fewmask.bench.notes`."""
    leave_current_folder()
    signal.signal(signal.SIGTERM, _interrupt)  # while it trains, the training's own handlers are there
    _stop_when_left_alone()
    keep_freed_memory()
    folder = Path(arguments[0])
    if is_follower():
        try:
            do_job(Order.read(folder))
        except FollowerError as error:
            return error.exit_code
        return 0
    return attend(folder)


def attend(folder: Path) -> int:
    """Do the job of a folder of notes, unless another process is at it or has done it; returns the exit code."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except RunError:
            return BUSY
        order = Order.read(folder)
        return 0 if order.job.scored else noted(order)


def noted(order: Order) -> int:
    """Do the job and keep the notes; returns the exit code of its process."""
    notes = Notes.read(order.job.notes)
    before, began, start = notes.seconds, time.time(), time.monotonic()

    def note(status: str, error: str = "") -> None:
        seconds = before + time.monotonic() - start
        Notes(status, seconds, began, f"{socket.gethostname()}:{os.getpid()}", error).write(order.job.notes)

    note("running")
    return _guarded(lambda: do_job(order), note)


def _guarded(work: Callable[[], None], note: Callable[..., None]) -> int:
    try:
        work()
    except (InterruptedRunError, KeyboardInterrupt):
        note("stopped")
        return STOPPED
    except FewmaskError as error:
        traceback.print_exc()
        note("failed", str(error))
        return FAILED
    except Exception as error:
        traceback.print_exc()
        note("failed", in_one_line(error))
        return FAILED
    note("done")
    return 0


def _stop_when_left_alone() -> None:
    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
