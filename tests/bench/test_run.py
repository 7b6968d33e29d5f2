"""The jobs of a suite from outside: each once, failures told, stopped ones continued."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from fewmask.bench.executors import Pool, local_pool, visible_gpus
from fewmask.bench.launch import Outcome, Share, _outcome, run_job
from fewmask.bench.notes import BUSY, FAILED, Notes
from fewmask.bench.run import prepare, run
from fewmask.bench.status import look
from fewmask.bench.suite_files import find_suite, open_suite
from fewmask.bench.work import Order, attend, noted
from fewmask.errors import ConfigError, DataError
from fewmask.locks import locked
from fewmask.run_folder import RunFolder
from processes import last_row, wait_for

CO = "diffusion-co-training"


class Pretend:
    """In place of the work: writes the scores, unless it is told otherwise for a job."""

    def __init__(self, **ways):
        self.ways, self.calls, self.lock = ways, [], threading.Lock()

    def __call__(self, notes, devices, share, stop):
        job = Order.read(Path(notes)).job
        with self.lock:
            self.calls.append(job.place.path.name)
            way = self.ways.get(job.place.path.name.replace("-", "_"))
            outcome = way(Path(stop)) if way else None
        if outcome is None or outcome.status == "done":
            assert all((folder / "predictions/summary.json").is_file() for folder in job.starts_from.values())
            (job.folder / "predictions").mkdir(parents=True)
            (job.folder / "predictions/summary.json").write_text("{}")
        return outcome or Outcome("done")


@pytest.fixture
def comparison(write_suite, tmp_path):
    def make(methods=("supervised", "mean-teacher"), **changes):
        path = write_suite(**{"blobs": {"labelled": [2]}, "methods": [*methods], **changes})
        return prepare(find_suite(str(path)), tmp_path / "out")

    return make


def do(comparison, call, limit=2):
    heard = []
    with ThreadPoolExecutor(limit) as executor:
        pool = Pool(executor, limit, Share(), call=call)
        tally = run(comparison, pool, lambda job, outcome, tally: heard.append((job, outcome and outcome.status)))
    return tally, heard


def test_each_job_once_and_only_what_is_missing(comparison):
    first = comparison()
    call = Pretend()
    tally, heard = do(first, call)
    assert sorted(call.calls) == sorted(job.folder.name for job in first.jobs) and len(tally.done) == 4
    assert sorted(str(job.place) for job, what in heard if what is None) == sorted(str(job.place) for job in first.jobs)
    assert [job for job, what in heard if what == "done"] == tally.done
    again = Pretend()
    assert do(comparison(), again)[0].done == [] and again.calls == []
    more = Pretend()
    do(comparison(seeds=[0, 1, 2]), more)
    assert sorted(more.calls) == ["mean-teacher-seed2", "supervised-seed2"]


def test_a_failure_does_not_stop_the_others(comparison):
    def fail(stop):
        return Outcome("failed", "no reason")

    def break_down(stop):
        raise OSError("the worker is gone")

    call = Pretend(supervised_seed0=fail, mean_teacher_seed0=break_down)
    tally, _ = do(comparison(), call)
    assert {str(job.place): error for job, error in tally.failed.items()} == {
        "blobs/2/supervised-seed0": "no reason",
        "blobs/2/mean-teacher-seed0": "OSError: the worker is gone",
    }
    assert len(tally.done) == 2 and not tally.stopped


def test_runs_wait_for_the_one_they_start_from(comparison):
    methods = ["supervised", {"name": CO, "starts_from": {"method.pretrained": CO}}]
    call = Pretend()  # looks whether the other is done
    assert len(do(comparison(methods, seeds=[0, 1, 2]), call, limit=6)[0].done) == 6


def test_runs_whose_first_failed_are_told(comparison):
    methods = ["supervised", {"name": CO, "starts_from": {"method.pretrained": CO}}]
    call = Pretend(diffusion_co_training_seed0=lambda stop: Outcome("failed", "no memory"))
    tally, heard = do(comparison(methods), call)
    errors = {job.folder.name: error for job, error in tally.failed.items()}
    assert errors[f"{CO}-seed1"] == f"it starts from blobs/2/{CO}-seed0, which failed"
    assert len(call.calls) == 3 and [what for _, what in heard].count("failed") == 2


def test_a_job_that_another_process_does_is_asked_for_again(comparison, monkeypatch):
    monkeypatch.setattr("fewmask.bench.run.PATIENCE", 0.1)
    answers = [Outcome("busy"), Outcome("busy"), Outcome("done")]
    call = Pretend(supervised_seed0=lambda stop: answers.pop(0))
    tally, heard = do(comparison(), call)
    assert len(tally.done) == 4 and call.calls.count("supervised-seed0") == 3
    assert [what for job, what in heard if str(job.place) == "blobs/2/supervised-seed0"] == [None, "busy", "done"]


@pytest.mark.parametrize("ends", [True, False])
def test_a_job_of_another_call_is_not_handed_over(comparison, monkeypatch, ends):
    """Or a queue would get it again every few seconds. It is done where the other one has done it, and handed over where that one is gone."""
    monkeypatch.setattr("fewmask.bench.run.PATIENCE", 0.01)
    monkeypatch.setattr("fewmask.bench.run.POLL", 0.01)
    made, call, looks = comparison(["supervised"], seeds=[0]), Pretend(), [True, True]
    (job,) = made.jobs

    def look(notes):
        if ends and len(looks) == 1:
            job.summary.parent.mkdir(parents=True)
            job.summary.write_text("{}")
        return bool(looks and looks.pop())

    monkeypatch.setattr("fewmask.bench.run.at_work", look)
    tally, heard = do(made, call)
    assert [what for _, what in heard] == ["busy", "done"] and tally.done == [job]
    assert call.calls == ([] if ends else ["supervised-seed0"]) and not looks


def test_an_executor_that_refuses(comparison):
    class Refuses(ThreadPoolExecutor):
        def submit(self, *arguments):
            raise OSError("no such partition")

    with Refuses(1) as executor:
        tally = run(comparison(), Pool(executor, 1, Share()), lambda job, outcome, tally: None)
    assert len(tally.failed) == 4 and set(tally.failed.values()) == {"OSError: no such partition"}


def test_two_processes_do_not_do_one_job(comparison):
    made = comparison(["supervised"], seeds=[0])
    job = made.jobs[0]
    made.order(job).write()
    with locked(job.notes):
        assert attend(job.notes) == BUSY and not job.folder.exists()
        assert run_job(str(job.notes), 1, Share(), "nowhere") == Outcome("busy")
    (job.folder / "predictions").mkdir(parents=True)
    (job.folder / "predictions/summary.json").write_text("{}")
    assert attend(job.notes) == 0 and not (job.folder / "config.yaml").exists(), "the other one has done it meanwhile"


def test_a_signal_lets_the_running_end_and_begins_no_other(comparison):
    def interrupt(stop):
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(stop.exists, timeout=20)
        return Outcome("stopped")

    made = comparison()
    call = Pretend(supervised_seed0=interrupt)
    tally, _ = do(made, call, limit=1)
    assert tally.stopped and call.calls == ["supervised-seed0"] and tally.failed == {}
    assert not list((made.output / "jobs").glob("stop-*"))


def test_what_can_be_checked_is_checked_first(comparison, write_suite, tmp_path, blobs):
    with pytest.raises(DataError, match="only 4 training cases have labels"):
        comparison(blobs={"labelled": [9]})
    suite = find_suite(str(write_suite(blobs={"dataset": None})))
    with pytest.raises(ConfigError, match="give --data blobs=FOLDER"):
        prepare(suite, tmp_path / "other")
    made = prepare(suite.with_data({"blobs": blobs}), tmp_path / "other")
    assert prepare(suite, tmp_path / "other").suite == made.suite, "the folder is remembered"
    assert open_suite(str(tmp_path / "other")) == (made.suite, tmp_path / "other")


def test_a_part_of_the_data_sets_leaves_the_others_known(write_suite, tmp_path, blobs):
    suite, out = find_suite(str(write_suite())), tmp_path / "out"
    more = {"more": suite.data["blobs"].model_copy(update={"dataset": None})}
    two = suite.model_copy(update={"data": {**suite.data, **more}})
    prepare(two.with_data({"more": blobs}), out)
    part = prepare(two.only(["blobs"]), out, whole=two)
    assert {job.place.data for job in part.jobs} == {"blobs"}
    kept = find_suite(str(out))
    assert list(kept.data) == ["blobs", "more"] and kept.data["more"].dataset == str(blobs)
    assert len(prepare(two, out).jobs) == 2 * len(part.jobs)


def test_synthetic_scans_are_made_anew_where_the_suite_is(write_suite, tmp_path):
    scans = {"shape": [32, 32], "train": 4, "unlabelled": 0, "test": 1}
    made = prepare(find_suite(str(write_suite(blobs={"dataset": None, "phantom": scans}))), tmp_path / "out")
    folder = tmp_path / "out/Dataset999_blobs"
    assert Path(made.suite.data["blobs"].dataset) == folder and (folder / "dataset.json").is_file()
    assert find_suite(str(tmp_path / "out")).data["blobs"].dataset is None
    changed = write_suite(blobs={"dataset": None, "phantom": {**scans, "test": 2}})
    with pytest.raises(ConfigError, match="other synthetic scans"):
        prepare(find_suite(str(changed)), tmp_path / "out")


def test_an_output_may_be_called_like_a_shipped_suite(write_suite, monkeypatch, tmp_path):
    suite = find_suite(str(write_suite()))
    monkeypatch.chdir(tmp_path)
    prepare(suite, Path("smoke"))
    assert open_suite("smoke") == (suite, Path("smoke"))


def test_an_error_of_the_driver_lets_the_running_end(comparison):
    """As when its console is gone: what runs saves a checkpoint and ends, since nobody would hear of it."""
    ended = threading.Event()

    def until_asked(stop):
        wait_for(stop.exists, timeout=10, pause=0.01)
        ended.set()
        return Outcome("stopped")

    def hear(job, outcome, tally):
        raise OSError("no console")

    with ThreadPoolExecutor(1) as executor:
        pool = Pool(executor, 1, Share(), call=Pretend(supervised_seed0=until_asked))
        with pytest.raises(OSError, match="no console"):
            run(comparison(["supervised"], seeds=[0]), pool, hear)
        assert ended.is_set()


def test_a_process_that_dies_has_not_the_reason_of_the_one_before(tmp_path):
    Notes("failed", error="the reason of yesterday").write(tmp_path)
    assert _outcome(1, tmp_path, asked=False).error == f"its process ended with code 1; see {tmp_path / 'log.txt'}"
    Notes("failed", error="the reason of today").write(tmp_path)
    assert _outcome(FAILED, tmp_path, asked=False).error == "the reason of today"


def test_a_clock_that_is_set_back_shortens_no_work(comparison, monkeypatch):
    order = (made := comparison(["supervised"], seeds=[0])).order(made.jobs[0])
    hours = iter((7200.0, 3600.0, 0.0))
    clock = SimpleNamespace(time=lambda: next(hours), monotonic=time.monotonic)
    monkeypatch.setattr("fewmask.bench.work.time", clock)
    monkeypatch.setattr("fewmask.bench.work.do_job", lambda order: None)
    assert noted(order) == 0
    notes = Notes.read(order.job.notes)
    assert notes.status == "done" and 0 <= notes.seconds < 3600 and notes.began == 7200


def test_gpus_are_dealt_out(tmp_path):
    """One a job, several to a job of several processes, and back when it ends."""
    with ThreadPoolExecutor(4) as executor:
        pool = Pool(executor, 4, Share(4, 2), ["0", "1", "2"], call=lambda notes, devices, share, stop: share)
        single = pool.submit(tmp_path, 1, tmp_path)
        pair = pool.submit(tmp_path, 2, tmp_path)
        assert pool.submit(tmp_path, 1, tmp_path) is None
        gpus = {*single.result().gpus, *pair.result().gpus}
        assert gpus == {"0", "1", "2"} and len(pair.result().gpus) == 2 and single.result().threads == 2
        pool.release(pair)
        assert pool.submit(tmp_path, 3, tmp_path) is None, "three are not free"
        assert set(pool.submit(tmp_path, 2, tmp_path).result().gpus) == set(pair.result().gpus)


def test_local_pool_has_a_place_for_each_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with local_pool() as pool:
        assert pool.limit == 2 and pool._free == ["4", "7"]
    with local_pool(jobs=3) as pool:
        assert pool.limit == 3 and sorted(pool._free) == ["4", "4", "7"]
    for text, seen in {"-1": [], "": [], "0, 2,-1,3": ["0", "2"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
        assert visible_gpus() == seen


def test_a_failure_is_noted(comparison, capfd):
    """What a job's process does where it cannot go on; the reason is kept, and the traceback is in the log."""
    broken = {"name": "supervised", "label": "broken", "set": {"sampling.patch_size": [16, 16, 16]}}
    made = comparison([broken, "supervised"], seeds=[0])
    order = made.order(made.jobs[0])
    order.write()
    assert noted(Order.read(order.job.notes)) == FAILED
    notes = Notes.read(order.job.notes)
    assert notes.status == "failed" and "sampling.patch_size has 3 numbers" in notes.error
    assert "Traceback" in capfd.readouterr().err
    state = look(made.jobs)[0]
    assert state.status == "failed" and state.error == notes.error


def test_a_job_is_stopped_with_a_checkpoint(comparison):
    """In a process of its own, which hears of the end through its standard input."""
    slow = {"train.iterations": 4000, "train.checkpoint_every": 10}
    made = comparison(["supervised"], seeds=[0], set=slow)
    job = made.jobs[0]
    watcher = threading.Thread(target=interrupt_when_far, args=(job, states := []))
    watcher.start()
    with local_pool(jobs=2, threads=1) as pool:
        tally = run(made, pool, lambda job, outcome, tally: None)
    watcher.join()
    assert tally.stopped and tally.done == [] and tally.failed == {}
    assert [state.status for state in states] == ["running"] and states[0].iteration >= 10
    assert Notes.read(job.notes).status == "stopped" and not job.scored
    assert look([job])[0].status == "stopped"
    assert 10 <= last_row(job.folder) < 4000 and RunFolder(job.folder).resumable


def interrupt_when_far(job, states):
    wait_for(lambda: last_row(job.folder) >= 10, pause=0.05)
    states += look([job])
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_job_is_trained_by_two_processes(comparison, monkeypatch, tmp_path):
    """The one that the pool starts, and a follower that it starts itself, which neither takes the job nor scores it."""
    seen = tmp_path / "seen"
    seen.mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        f"pathlib.Path({str(seen)!r}, os.environ.get('LOCAL_RANK', '0')).write_text(' '.join(sys.orig_argv))\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{os.environ['PYTHONPATH']}")
    scans = {"shape": [32, 32], "train": 2, "unlabelled": 0, "test": 1}
    two = {"train.devices": 2, "train.iterations": 2}
    blobs = {"dataset": None, "phantom": scans, "labelled": [2]}
    made = comparison(["supervised"], seeds=[0], set=two, blobs=blobs)
    with local_pool(jobs=1, threads=1) as pool:
        tally = run(made, pool, lambda job, outcome, tally: None)
    (job,) = made.jobs
    assert tally.failed == {} and tally.done == [job] and job.scored and job.devices == 2
    assert {path.name for path in seen.iterdir()} == {"0", "1"}
    assert all("-m fewmask.bench.work" in path.read_text() for path in seen.iterdir())
    assert Notes.read(job.notes).status == "done" and last_row(job.folder) == 2
    assert "Traceback" not in (job.notes / "log.txt").read_text()
