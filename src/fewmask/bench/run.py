"""Doing the jobs of a suite: what is missing, each once, in an order in which every run finds what it starts from."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fewmask.bench.executors import Pool
from fewmask.bench.jobs import Job, SplitRule, expand
from fewmask.bench.launch import Outcome
from fewmask.bench.status import at_work
from fewmask.bench.suite import NOTES, PhantomScans, Suite
from fewmask.bench.suite_files import KEPT, to_yaml, with_known_folders
from fewmask.bench.work import Order
from fewmask.data.dataset import Dataset
from fewmask.data.phantom import Phantom, write_phantom
from fewmask.data.split import Split
from fewmask.engine.interrupt import Interruption
from fewmask.errors import ConfigError, in_one_line
from fewmask.files import make_folder, read_json, write_json
from fewmask.locks import locked
from fewmask.places import inside
from fewmask.whole import write_whole

Hear = Callable[[Job, Outcome | None, "Tally"], None]
"""Is told when a job was handed over (no outcome), when another process turns out to be at it, and when it has ended."""
POLL = 0.5  # seconds
PATIENCE = 3.0  # seconds before a job that another process does is asked for again


@dataclass(frozen=True)
class Comparison:
    """A suite that is ready to run.

    Attributes:
        suite: with the folders of its data sets.
        output: folder of the run folders.
        jobs: all of them.
        store: for preprocessed cases; None: inside the data sets.
    """

    suite: Suite
    output: Path
    jobs: list[Job]
    store: Path | None = None

    @property
    def missing(self) -> list[Job]:
        """What is to be done."""
        return [job for job in self.jobs if not job.scored]

    def order(self, job: Job) -> Order:
        """A job with its data."""
        dataset = self.suite.data[job.place.data].dataset
        assert dataset is not None  # `prepare` has seen to it
        return Order(job, Path(dataset), self.store)


@dataclass
class Tally:
    """How a run of a suite went.

    Attributes:
        done: in this call.
        failed: with the reason of each.
        stopped: whether somebody asked for an end.
    """

    done: list[Job] = field(default_factory=list)
    failed: dict[Job, str] = field(default_factory=dict)
    stopped: bool = False


def prepare(suite: Suite, output: Path, store: Path | None = None, whole: Suite | None = None) -> Comparison:
    """Check everything that can be checked before the first training: data, splits, settings, what is there already.

    Folders of data sets that the suite does not name are those of an earlier run in ``output``; they are kept in its ``suite.yaml``.

    Args:
        suite: the comparison.
        output: folder of the run folders.
        store: for preprocessed cases; None: inside the data sets.
        whole: the suite of which ``suite`` has some data sets only; it is what is kept. None: ``suite``.

    Raises:
        ConfigError: a setting is wrong, a data set has no folder, or a run folder was made with other settings.
        DataError: a data set cannot be read, or gives no such split.
        WriteError: the output cannot be written.
    """
    jobs = expand(suite, output)
    whole = whole or suite
    whole = with_known_folders(whole.model_copy(update={"data": {**whole.data, **suite.data}}), output)
    suite = _with_phantoms(whole.only(list(suite.data)), output)
    splits: dict[tuple[str, SplitRule], Split] = {}
    datasets = {name: Dataset.open(Path(str(data.dataset))) for name, data in suite.data.items()}
    for job in jobs:
        key = job.place.data, job.rule
        if key not in splits:
            splits[key] = job.rule.split(datasets[job.place.data])
            if not splits[key].test:
                raise ConfigError(
                    f"{datasets[job.place.data].root}: has no test cases, which a comparison is scored on: put scans into "
                    "imagesTs and labelsTs, or choose a protocol"
                )
        job.check_same(splits[key])
    for job in jobs:
        if not job.scored:  # or it will be written
            inside(output, job.place.path), inside(output, NOTES, job.place.path)
    write_whole(output / KEPT, to_yaml(whole))
    return Comparison(suite, output, jobs, store)


def _with_phantoms(suite: Suite, output: Path) -> Suite:
    """With synthetic scans where there is no other data set."""
    folders: dict[str, Path] = {}
    for name, data in suite.data.items():
        if data.dataset is None and data.phantom is None:
            raise ConfigError(
                f"suite {suite.name} has no folder for {name}: give --data {name}=FOLDER, a dataset folder"
            )
        if data.dataset is None and data.phantom is not None:
            folders[name] = _phantom(inside(output, f"Dataset999_{name}"), data.phantom)
    return suite.with_data(folders)


def _phantom(folder: Path, scans: PhantomScans) -> Path:
    make_folder(folder)
    with locked(folder, wait=True):
        made, asked = folder / "phantom.json", scans.model_dump(mode="json")
        if made.is_file() and read_json(made) != asked:
            raise ConfigError(f"{folder}: holds other synthetic scans than the suite asks for; choose another --output")
        if not (folder / "dataset.json").is_file():  # which is written last
            write_json(made, asked)
            phantom = Phantom(shape=scans.shape, noise=scans.noise)
            counts = {"train": scans.train, "unlabelled": scans.unlabelled, "test": scans.test}
            write_phantom(folder, phantom, seed=scans.seed, **counts)
    return folder


def run(comparison: Comparison, pool: Pool, hear: Hear) -> Tally:
    """Do what is missing. A failure does not stop the others; a signal lets what runs save a checkpoint and ends.

    Args:
        comparison: ready to run.
        pool: where.
        hear: what becomes of the jobs.
    """
    with _stop_file(comparison.output) as stop, Interruption() as interruption:
        return _Work(comparison, pool, hear, stop).until_done(interruption)


@contextmanager
def _stop_file(output: Path) -> Iterator[Path]:
    folder = inside(output, NOTES)
    make_folder(folder)
    path = folder / f"stop-{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


class _Work:
    def __init__(self, comparison: Comparison, pool: Pool, hear: Hear, stop: Path) -> None:
        self.comparison, self.pool, self.hear, self.stop = comparison, pool, hear, stop
        self.tally = Tally()
        self.waiting = dict.fromkeys(comparison.missing, 0.0)  # and the time from which on to try
        self.running: dict[Future[Outcome], Job] = {}
        self.elsewhere: set[Job] = set()
        self.by_folder: Mapping[Path, Job] = {job.folder.resolve(): job for job in comparison.jobs}

    def until_done(self, interruption: Interruption) -> Tally:
        try:
            while self.waiting or self.running:
                if interruption.requested and not self.tally.stopped:
                    self.tally.stopped = True
                    self.waiting.clear()
                    self.end_running()
                self.begin()
                self.collect()
        except BaseException:  # or jobs would run on of which nobody hears
            self.end_running()
            wait(self.running)
            raise
        return self.tally

    def end_running(self) -> None:
        """Ask for a checkpoint and an end of what runs, and take back what has not begun."""
        self.stop.touch()
        self.pool.leave_queue()

    def begin(self) -> None:
        """Start what can start now."""
        for job, earliest in tuple(self.waiting.items()):
            sources = [self.by_folder[folder] for folder in job.starts_from.values()]
            if failed := [source for source in sources if source in self.tally.failed]:
                del self.waiting[job]
                self.end(job, Outcome("failed", f"it starts from {failed[0].place}, which failed"))
            elif time.monotonic() >= earliest and all(source.scored for source in sources):
                self.submit(job)

    def submit(self, job: Job) -> None:
        """Hand a job over, if there is room, and no other call has done it or is at it."""
        if not self.pool.has_room(job.devices):
            return
        if job.scored:
            del self.waiting[job]
            self.end(job, Outcome("done"))
            return
        if at_work(job.notes):  # its end is waited for here, and not by a job in a queue again and again
            self.leave_to_others(job)
            return
        self.comparison.order(job).write()
        try:
            future = self.pool.submit(job.notes, job.devices, self.stop)
        except Exception as error:  # of the executor: a queue that refuses, a cluster that is gone
            del self.waiting[job]
            self.end(job, Outcome("failed", in_one_line(error)))
            return
        if future is not None:
            self.running[future] = job
            if not self.waiting.pop(job):  # else it is asked for again
                self.hear(job, None, self.tally)

    def collect(self) -> None:
        """Wait a moment, and take in what has ended."""
        if not self.running:
            time.sleep(POLL if self.waiting else 0)
            return
        for future in wait(self.running, POLL, FIRST_COMPLETED).done:
            job = self.running.pop(future)
            self.pool.release(future)
            outcome = _outcome(future)
            if outcome.status == "busy" and not self.tally.stopped:
                self.leave_to_others(job)
            elif outcome.status in ("done", "failed"):
                self.end(job, outcome)
            elif outcome.status == "stopped" and not self.tally.stopped:
                self.end(job, Outcome("failed", "somebody else stopped it; its checkpoint is saved"))

    def leave_to_others(self, job: Job) -> None:
        """Ask for it again in a while."""
        if job not in self.elsewhere:
            self.hear(job, Outcome("busy"), self.tally)
        self.elsewhere.add(job)
        self.waiting[job] = time.monotonic() + PATIENCE

    def end(self, job: Job, outcome: Outcome) -> None:
        if outcome.status == "done":
            self.tally.done.append(job)
        else:
            self.tally.failed[job] = outcome.error
        self.hear(job, outcome, self.tally)


def _outcome(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except CancelledError:
        return Outcome("stopped")
    except Exception as error:  # of the executor: a worker that dies again and again
        return Outcome("failed", in_one_line(error))
