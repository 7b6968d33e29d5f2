from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.interrupt import Interruption
from fewmask.engine.train import train
from helpers import write_dataset
from toys import small_experiment

SPLIT = Split(labelled=("case_000", "case_001"), unlabelled=("extra_000", "extra_001"))
CHILD = """
    import sys, time
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from fewmask.config import load_experiment
    from fewmask.data.dataset import Dataset
    from fewmask.data.split import Split
    from fewmask.engine.train import train
    from fewmask.errors import FewmaskError

    class Slow:
        def begin(self, done, total): pass
        def step(self, done, values):
            print(done, flush=True)
            time.sleep(0.02)

    experiment, data, output = sys.argv[1:4]
    split = Split(labelled=("case_000", "case_001"), unlabelled=("extra_000", "extra_001"))
    try:
        train(load_experiment(Path(experiment)), Dataset.open(Path(data)), split, Path(output), listener=Slow())
    except FewmaskError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "scheduler"])
def test_a_stopped_process_saves_and_resumes_to_the_same_weights(tmp_path, number):
    root = write_dataset(tmp_path / "Dataset001_Blobs", cases=2, unlabelled=2, dims=2)
    experiment = small_experiment(
        "mean-teacher", train={"iterations": 60, "checkpoint_every": 1000}, sampling={"workers": 1}
    )
    (tmp_path / "experiment.yaml").write_text(experiment.to_yaml())
    arguments = [str(tmp_path / "experiment.yaml"), str(root), str(tmp_path / "cut")]
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    for line in child.stdout:
        if int(line) == 7:
            break
    os.killpg(child.pid, number)  # as a terminal and a scheduler do: the loader processes hear it too
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "checkpoint saved: continue with --resume auto" in errors
    assert "Traceback" not in errors

    data = Dataset.open(root)
    done = []
    begin = type("Heard", (), {"begin": lambda self, *at: done.append(at), "step": lambda self, *_: None})()
    cut = train(experiment, data, SPLIT, tmp_path / "cut", resume=True, listener=begin)
    whole = train(experiment, data, SPLIT, tmp_path / "whole")
    assert 7 <= done[0][0] < 60
    assert cut.weights().read_bytes() == whole.weights().read_bytes()


def environment():
    source = Path(__file__).resolve().parents[2] / "src"
    return {**os.environ, "PYTHONPATH": str(source)}


def test_a_request_to_terminate_counts_too():
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.requested


def test_the_first_signal_asks_and_the_second_stops_at_once():
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits SIGINT as ignored
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:
        assert not interruption.requested
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, inherited)


def test_handlers_come_back_without_a_signal():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interruption():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_it_does_nothing():
    problems = []

    def work():
        try:
            with Interruption() as interruption:
                assert not interruption.requested
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert problems == []
