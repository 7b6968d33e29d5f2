"""One training a folder; a folder that was moved, copied to where nothing can be written, or whose disk fails; broken losses."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from processes import assert_equal_runs, contents


def test_the_second_training_is_refused_while_the_first_lives(server, words, undisturbed, data, tmp_path):
    run, settings = tmp_path / "run", {"train__iterations": 24, "sampling__workers": 1}
    first = server.start(*words(run, **settings))
    first.reach(run, 4)
    first.signal(signal.SIGSTOP)
    before = contents(run)
    said = server.run(*words(run, **settings), code=1)
    assert said.startswith(
        f"error: {run} is in use by another call of fewmask (process {first.pid} on {os.uname().nodename})"
    )
    assert contents(run) == before
    out = tmp_path / "out"
    assert "label map" in server.run("predict", run, data / "imagesTs", out), "to predict is allowed meanwhile"
    first.signal(signal.SIGCONT)
    assert first.code() == 0, first.said
    assert_equal_runs(run, undisturbed("mean-teacher", train__iterations=24))


def test_a_moved_and_read_only_run_predicts(server, words, undisturbed, data, disk, tmp_path):
    made = undisturbed("mean-teacher", train__iterations=6)
    place = disk("16m")
    moved = place.path / "elsewhere" / "renamed"
    shutil.copytree(made, moved)
    assert not place.tell(f"mount -o remount,ro '{place.place}'")
    with pytest.raises(OSError, match="Read-only"):
        (moved / "x").touch()
    server.run("predict", moved, data / "imagesTs", tmp_path / "moved")
    server.run("predict", made, data / "imagesTs", tmp_path / "made")
    assert contents(tmp_path / "moved") == contents(tmp_path / "made") != {}
    said = server.run(*words(moved, train__iterations=6), code=1)
    assert f"{moved / '.lock'}: cannot be written (Read-only file system); check the rights to it" in said


@pytest.mark.parametrize("damage", ["truncated", "one bit", "removed"])
def test_a_damaged_checkpoint_is_stepped_over(server, words, undisturbed, tmp_path, damage):
    run, settings = tmp_path / "run", {"train__iterations": 24}
    process = server.start(*words(run, **settings))
    process.reach(run, 9)
    process.kill()
    last = run / "checkpoints" / "last.pt"
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 4
    if damage == "removed":
        last.unlink()
    else:
        last.write_bytes(data[: len(data) // 3] if damage == "truncated" else data)
    said = server.run(*words(run, **settings))
    assert ("last.pt is damaged: continuing from the checkpoint before it" in said) == (damage != "removed")
    assert_equal_runs(run, undisturbed("mean-teacher", **settings))


def test_without_a_whole_checkpoint_it_says_so(server, words, undisturbed, tmp_path):
    run, settings = tmp_path / "run", {"train__iterations": 6}
    shutil.copytree(undisturbed("mean-teacher", **settings), run)
    (run / "checkpoints" / "last.pt").write_bytes(b"PK rubbish")
    before = contents(run)
    assert "last.pt cannot be read as a checkpoint" in server.run(*words(run, **settings), code=1)
    assert contents(run) == before


def test_a_loss_that_is_no_number(server, words, tmp_path):
    """A learning rate far too large: the step, its cases and the way out are named, and the checkpoint before it is whole."""
    run = tmp_path / "run"
    settings = {"train__lr": 1e6, "train__checkpoint_every": 1, "network__norm": "none", "train__schedule": "constant"}
    said = server.run(*words(run, **settings), code=1)
    error = next(line for line in said.splitlines() if line.startswith("error: "))
    assert "at iteration" in error or "after iteration" in error
    assert "on patches of case_00" in error and "extra_00" in error
    assert "train.lr" in error and "train.clip_norm" in error
    assert "Traceback" not in said
