"""SIGINT and SIGTERM at the moments when no training step is under way."""

from __future__ import annotations

import signal
import time

import pytest

from helpers import write_dataset
from processes import assert_equal_runs, contents, last_row, partials, wait_for


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "scheduler"])
def test_while_the_scans_are_prepared(server, words, tmp_path, number):
    """At once: nothing half written stays, and what is prepared is not prepared again."""
    data = write_dataset(tmp_path / "data", cases=3, unlabelled=2, shape=(90, 90, 60))
    store, run = tmp_path / "store", tmp_path / "run"
    command = words(run, dataset=data, store=store, train__iterations=1, preprocess__spacing="[0.9,0.9,1.1]")
    process = server.start(*command)
    wait_for(lambda: not process.alive or list(store.rglob("image.json")))
    asked = time.monotonic()
    process.signal(number, group=True)
    assert process.code() == 130, process.said
    assert time.monotonic() - asked < 20
    assert process.said.splitlines() == [
        "error: stopped while the scans were prepared: type the command again, and it goes on from there"
    ]
    assert not partials(store)
    assert not run.exists()
    assert not list(store.rglob(".lock"))
    made = {path: path.stat().st_mtime_ns for path in store.rglob("image.npy") if (path.parent / "image.json").exists()}
    assert made
    server.run(*command)
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_while_it_validates(server, words, tmp_path):
    """Without waiting for the validation's end; the resumed run makes up for it, in the row where it belongs."""
    data = write_dataset(tmp_path / "data", cases=3, unlabelled=1, shape=(26, 26, 20))
    # 605 windows: seconds
    settings = {"dataset": data, "train__iterations": 3, "train__validate_every": 3, "inference__stride": "[1,1,1]"}
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = server.start(*words(run, **settings))
    process.reach(run, 2)
    time.sleep(0.8)
    process.signal(signal.SIGTERM)
    assert process.code() == 130, process.said
    assert last_row(run) == 2, "the row of step 3 waits for its validation"
    assert "stopped after 3 of 3 iterations, checkpoint saved: continue with --resume auto" in process.said
    server.run(*words(run, **settings))
    server.run(*words(whole, **settings))
    assert_equal_runs(run, whole)


def test_between_rows(server, words, undisturbed, tmp_path):
    """The next row is the mean over the steps of both sittings."""
    settings = {
        "train__iterations": 20,
        "train__log_every": 20,
        "train__checkpoint_every": 20,
        "train__validate_every": 20,
    }
    run = tmp_path / "run"
    process = server.start(*words(run, **settings))
    wait_for(lambda: not process.alive or "iteration 7/20" in process.said)
    process.signal(signal.SIGINT)
    assert process.code() == 130, process.said
    server.run(*words(run, **settings))
    assert_equal_runs(run, undisturbed("mean-teacher", **settings))
    assert len(contents(run)["metrics.csv"].splitlines()) == 2
