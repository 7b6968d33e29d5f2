"""The other places where jobs run: a Dask cluster of which a worker dies, and Slurm's stand-in of submitit."""

import os
import signal
import threading
from concurrent.futures import wait
from contextlib import contextmanager
from unittest import mock

import pytest

from fewmask.bench.executors import SubmititExecutor, dask_pool, slurm_pool
from fewmask.bench.notes import Notes
from fewmask.bench.run import prepare, run
from fewmask.bench.suite_files import find_suite
from fewmask.errors import ConfigError
from processes import last_row, rows, wait_for

LENGTH = 150  # iterations
psutil = pytest.importorskip("psutil", reason="needs fewmask[dask]")


@contextmanager
def in_background(work):
    """Runs a function beside the block."""
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(5)


@pytest.fixture
def comparison(write_suite, tmp_path):
    """Runs long enough to be met in the middle."""

    def make(*quick):
        settings = {"train.iterations": LENGTH, "train.checkpoint_every": 5}
        methods = [{"name": "supervised", "set": settings}, *quick]
        path = write_suite(blobs={"labelled": [2]}, methods=methods, seeds=[0])
        return prepare(find_suite(str(path)), tmp_path / "out")

    return make


def process_of(job):
    return psutil.Process(int(Notes.read(job.notes).where.rpartition(":")[2]))


def wait_until_far(job):
    wait_for(lambda: last_row(job.folder) >= 10, pause=0.02)


def test_a_dask_worker_dies_and_everything_is_done(comparison, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs fewmask[dask]")
    made = comparison("mean-teacher")
    first, seen = made.jobs[0], []
    with (
        mock.patch.dict(os.environ),  # in which the cluster leaves its own settings of malloc and threads
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path / "dask")
        ) as cluster,
        dask_pool(cluster.scheduler_address, threads=1) as pool,
    ):
        assert pool.share.jobs == pool.at_once == 2

        def kill():
            wait_until_far(first)
            seen.append(process_of(first))
            os.kill(seen[0].ppid(), signal.SIGKILL)

        with in_background(kill):
            tally = run(made, pool, lambda job, outcome, tally: None)
    assert len(tally.done) == 2 and tally.failed == {} and not tally.stopped
    assert process_of_ended(first) != seen[0].pid, "another process has continued it"
    assert [row["iteration"] for row in rows(first.folder)] == [str(number + 1) for number in range(LENGTH)]


def test_slurm_wants_its_machine_back(comparison):
    """As before the time is up: the job is asked to save, goes into the queue again and continues."""
    pytest.importorskip("submitit", reason="needs fewmask[slurm]")
    made = comparison()
    job, seen = made.jobs[0], []

    def interrupt():
        wait_until_far(job)
        seen.append(process_of(job))
        os.kill(seen[0].ppid(), signal.SIGUSR2)

    options = {"cluster": "local", "timeout_min": 5}
    with slurm_pool(made.output / "jobs/slurm", options, threads=1) as pool, in_background(interrupt):
        tally = run(made, pool, lambda job, outcome, tally: None)
    assert tally.done == [job] and process_of_ended(job) != seen[0].pid
    assert len(rows(job.folder)) == LENGTH


def process_of_ended(job):
    return int(Notes.read(job.notes).where.rpartition(":")[2])


class Queued:
    """A job of submitit's whose state the test sets."""

    state, cancelled, answer = "PENDING", False, None

    def done(self):
        return self.state == "DONE"

    def result(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def cancel(self):
        self.cancelled = True


def test_futures_of_slurm_s_jobs(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="needs fewmask[slurm]")
    monkeypatch.setattr("fewmask.bench.executors.PAUSE", 0.01)
    with SubmititExecutor(tmp_path, {"cluster": "local"}) as executor:
        jobs = [Queued() for _ in range(4)]
        monkeypatch.setattr(executor._inner, "submit", lambda fn: jobs[fn])
        good, bad, waiting, running = (executor.submit(number) for number in range(4))
        jobs[0].state, jobs[0].answer = "DONE", 5
        assert good.result(20) == 5
        jobs[1].state, jobs[1].answer = "DONE", ValueError("the node is gone")
        with pytest.raises(ValueError, match="the node is gone"):
            bad.result(20)
        jobs[3].state = "RUNNING"
        wait_for(running.running, timeout=20)
        assert waiting.cancel() and not running.cancel(), "what runs sees the file that asks it to stop"
        wait_for(lambda: jobs[2].cancelled, timeout=20)
        jobs[3].state = "DONE"
    assert running.done() and not jobs[3].cancelled
    assert wait([waiting], timeout=0).done == {waiting}, "or a stopped comparison would wait for it for ever"


def test_what_is_wrong_with_an_executor_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("fewmask.bench.executors.PATIENCE", 0.5)
    pytest.importorskip("submitit", reason="needs fewmask[slurm]")
    with pytest.raises(ConfigError, match="partitoin"):
        SubmititExecutor(tmp_path, {"cluster": "local", "partitoin": "gpu"})
    pytest.importorskip("distributed", reason="needs fewmask[dask]")
    with (
        pytest.raises(ConfigError, match="no Dask scheduler answers"),
        dask_pool("tcp://127.0.0.1:1"),
    ):
        pass
