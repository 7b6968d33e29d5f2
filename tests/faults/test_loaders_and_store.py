"""Loader processes that die, and files of the store that go or change while a training reads them."""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
import pytest

from processes import assert_equal_runs


@pytest.fixture
def store(data, server, words, tmp_path):
    """A prepared store of its own."""
    server.run(*words(tmp_path / "first", store=tmp_path / "store", train__iterations=1))
    return tmp_path / "store"


def test_a_loader_process_is_killed(server, words, undisturbed, tmp_path):
    """As the system does when memory runs out: said at once, and nothing is lost but the steps since the checkpoint."""
    settings = {"train__iterations": 24}
    run = tmp_path / "run"
    process = server.start(*words(run, sampling__workers=1, **settings))
    process.reach(run, 6)
    os.kill(process.workers[0], signal.SIGKILL)
    assert process.code() == 1
    error = next(line for line in process.said.splitlines() if line.startswith("error: "))
    assert "is killed by signal: Killed (most likely the system had no memory left)" in error
    assert "set sampling.workers=0" in error and "--resume auto" in error
    assert "Traceback" not in process.said
    server.run(*words(run, sampling__workers=0, **settings))
    assert_equal_runs(run, undisturbed("mean-teacher", **settings))


def overwrite(path):
    """Other bytes in the same file, which keeps its size."""
    with path.open("r+b") as file:
        file.seek(200)
        file.write(bytes(path.stat().st_size - 200))


CHANGES = {
    "removed": lambda path: path.unlink(),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "overwritten": overwrite,
    "replaced": lambda path: (
        np.save(path.with_name("new.npy"), np.load(path)[..., ::-1]),
        path.with_name("new.npy").replace(path),
    ),
}


@pytest.mark.parametrize(
    ("name", "change", "workers"),
    [
        ("image.npy", "removed", 0),
        ("image.npy", "truncated", 1),
        ("image.npy", "overwritten", 0),
        ("image.npy", "replaced", 1),
        ("label.npy", "replaced", 0),
        ("foreground.npy", "removed", 1),
        ("foreground.npy", "replaced", 0),
    ],
)
def test_a_file_of_the_store_is(server, words, store, undisturbed, tmp_path, name, change, workers):
    run, settings = tmp_path / "run", {"train__iterations": 12, "sampling__foreground": 0.5}
    process = server.start(*words(run, store=store, sampling__workers=workers, **settings))
    process.reach(run, 2)
    changed = sorted(store.rglob(name))
    for path in changed:
        CHANGES[change](path)
    assert process.code() == 1, process.said
    error = next(line for line in process.said.splitlines() if line.startswith("error: "))
    assert any(f"{path}: was removed, damaged or replaced while in use" in error for path in changed)
    assert "Traceback" not in process.said
    server.run(*words(run, store=store, **settings))
    assert_equal_runs(run, undisturbed("mean-teacher", **settings))


def test_the_scans_themselves_may_go(server, words, data, undisturbed, tmp_path):
    """Once prepared they are not read again; and a store whose files were only touched stays good."""
    own, run, settings = tmp_path / "data", tmp_path / "run", {"train__iterations": 24}
    shutil.copytree(data, own, ignore=shutil.ignore_patterns(".fewmask"))
    process = server.start(*words(run, dataset=own, **settings))
    process.reach(run, 2)
    for scan in own.glob("images*/*"):
        scan.unlink()
    for path in own.rglob("*.npy"):
        path.touch()
    assert process.code() == 0, process.said
    assert_equal_runs(run, undisturbed("mean-teacher", **settings))


def test_two_trainings_prepare_one_store(server, words, tmp_path):
    """They share the work: neither sees a file of the other's replaced under it."""
    store = tmp_path / "store"
    both = [server.start(*words(tmp_path / name, store=store, train__iterations=9)) for name in ("first", "second")]
    assert [process.code() for process in both] == [0, 0], [process.said for process in both]
    assert_equal_runs(tmp_path / "first", tmp_path / "second")
    assert not list(store.rglob(".lock"))
