"""Standard streams that are closed, or whose other end goes away: the work is done all the same."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from processes import ENVIRONMENT, assert_equal_runs, wait_for

SETTINGS = {"train__iterations": 24}
PROGRAM = [sys.executable, "-m", "fewmask"]


def start(words, **streams):
    command = [*PROGRAM, *(str(word) for word in words)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, **streams)


def test_a_pipe_whose_reader_goes(words, undisturbed, tmp_path):
    """The lines that nobody reads are in a file of the run."""
    run = tmp_path / "run"
    process = start(words(run, **SETTINGS), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    first = process.stderr.readline()
    process.stderr.close()
    assert process.wait(240) == 0
    log = run / "terminal.log"
    assert b"iteration 1/24" in first and "iteration 24/24" in log.read_text()
    log.unlink()
    assert_equal_runs(run, undisturbed("mean-teacher", **SETTINGS))


def test_a_terminal_that_goes(words, undisturbed, tmp_path):
    """Every write to it is an error from then on; nobody sends the signal that a shell would."""
    run, (ours, theirs) = tmp_path / "run", pty.openpty()
    process = start(words(run, **SETTINGS), stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    while b"1/24" not in seen:
        seen += os.read(ours, 4096)
    os.close(ours)
    assert process.wait(240) == 0
    text = (run / "terminal.log").read_text()
    assert "iteration 24/24" in text and "\x1b" not in text
    (run / "terminal.log").unlink()
    assert_equal_runs(run, undisturbed("mean-teacher", **SETTINGS))


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_were_closed_before(server, words, undisturbed, data, tmp_path, closed):
    """What is written goes into no file that is opened afterwards."""
    run, out = tmp_path / "run", tmp_path / "out"
    for arguments in (words(run, train__iterations=6), ["predict", run, data / "imagesTs", out]):
        line = " ".join(f"'{word}'" for word in [*PROGRAM, *map(str, arguments)])
        assert subprocess.run(["sh", "-c", f"{line} {closed}"], env=ENVIRONMENT, check=False).returncode == 0
    assert_equal_runs(run, undisturbed("mean-teacher", train__iterations=6))
    server.run("predict", undisturbed("mean-teacher", train__iterations=6), data / "imagesTs", tmp_path / "whole")
    assert [path.read_bytes() for path in sorted(out.iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "whole").iterdir())
    ]


def test_a_hang_up_saves_a_checkpoint(server, words, undisturbed, tmp_path):
    run = tmp_path / "run"
    process = server.start(*words(run, **SETTINGS))
    process.reach(run, 6)
    process.signal(signal.SIGHUP)
    assert process.code() == 130 and "checkpoint saved" in process.said
    server.run(*words(run, **SETTINGS))
    assert_equal_runs(run, undisturbed("mean-teacher", **SETTINGS))


def test_nohup_keeps_a_training_alive(words, tmp_path):
    run = tmp_path / "run"
    command = ["nohup", *PROGRAM, *(str(word) for word in words(run, **SETTINGS))]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for((run / "metrics.csv").exists, pause=0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait(240) == 0
