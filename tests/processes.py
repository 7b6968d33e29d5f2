"""Real processes of the program to kill, and small disks to fill."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from fewmask.engine.checkpoint import load_state

TESTS = Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TESTS.parent / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def wait_for(happened, timeout=240, pause=0.0005):
    """Look until ``happened()`` is true, and return what it gave."""
    end = time.monotonic() + timeout
    while not (found := happened()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {timeout} s in vain")
        time.sleep(pause)
    return found


class Process:
    """One run of the program."""

    def __init__(self, server, pid, log):
        self.server, self.pid, self.log = server, pid, log
        self._code = None

    @property
    def said(self):
        return self.log.read_text()

    @property
    def alive(self):
        """Whether it still runs; a zombie that nobody has waited for does not."""
        if self._code is not None:
            return False
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"

    @property
    def workers(self):
        """Its loader processes."""
        return [int(word) for word in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def signal(self, number=signal.SIGKILL, *, group=False):
        """Send a signal to it, or to its loader processes too, as a terminal or a scheduler does."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def code(self):
        """How it ended."""
        if self._code is None:
            wait_for(lambda: not self.alive, pause=0.01)
            self._code = self.server.ask(wait=self.pid)
        return self._code

    def reach(self, folder, least, name=None):
        """Wait until the run's log has come to iteration ``least``, and then until a file is half written whose name ends so."""
        wait_for(
            lambda: not self.alive or (last_row(folder) >= least and (name is None or partials(folder, name))),
            pause=0.0002 if name else 0.002,
        )
        assert self.alive, self.said

    def kill(self):
        """As `kill -9`, with its loader processes, and wait for its end."""
        self.signal(group=True)
        return self.code()


class Server:
    """Starts the program without its seconds of imports; see `tests/forkserver.py`."""

    def __init__(self, folder):
        self.folder, self.started = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "forkserver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, *words, **more):
        """`fewmask WORDS` in the background; ``more`` goes to `forkserver.run`."""
        self.started += 1
        log = self.folder / f"{self.started}.log"
        log.touch()
        return Process(
            self, self.ask(start=[str(word) for word in words], cwd=str(self.folder), log=str(log), **more), log
        )

    def run(self, *words, code=0):
        """`fewmask WORDS` to its end, which must be ``code``; what it said."""
        process = self.start(*words)
        assert process.code() == code, process.said
        return process.said

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Disk:
    """A file system in memory, in a mount namespace of its own, which goes when its keeper ends."""

    def __init__(self, place, size):
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--map-root-user", "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        place.mkdir(exist_ok=True)
        self.place = place
        said = self.tell(f"mount -t tmpfs -o size={size} none '{place}'")
        self.path = Path(f"/proc/{self.keeper.pid}/root{place}")
        self.problem = said or ("" if os.access(self.path, os.W_OK) else "the mount cannot be reached")

    def tell(self, command):
        """Run a command in the namespace; what it said."""
        try:
            self.keeper.stdin.write(f"{command} 2>&1; echo; echo END\n")
            self.keeper.stdin.flush()
        except BrokenPipeError:
            return "no user namespaces here"
        said = ""
        while (line := self.keeper.stdout.readline()) not in ("END\n", ""):
            said += line
        return said.strip() if line else said.strip() or "no user namespaces here"

    def fill(self, spare=0):
        """Leave ``spare`` bytes."""
        with (self.path / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        size = (self.path / "filler").stat().st_size
        os.truncate(self.path / "filler", max(size - spare, 0))

    def free(self):
        """Give the room back."""
        (self.path / "filler").unlink()

    def close(self):
        self.keeper.stdin.close()
        self.keeper.wait()


def contents(folder):
    """Every file below a folder and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def last_row(run):
    """The iteration of the last row of metrics.csv, as far as one can see it from outside."""
    try:
        lines = (run / "metrics.csv").read_text().splitlines()[1:]
    except FileNotFoundError:
        return 0
    return max((int(line.split(",")[0]) for line in lines if line.split(",")[0].isdigit()), default=0)


def partials(folder, name=""):
    """What is being written below a folder, or was when its writer was killed."""
    return [path for path in folder.rglob(".partial-*") if path.name.endswith(name)]


def rows(run):
    """metrics.csv without the time."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def assert_equal_runs(cut, whole):
    """Bit for bit: weights, networks, teachers, optimisers, best validation, log. And nothing that a killed writer left."""
    states = [load_state(run / "checkpoints" / "last.pt") for run in (cut, whole)]
    for state in states:
        del state["state"]["seconds"]
    assert states[0]["state"] == states[1]["state"]
    for part in ("method", "optimisers", "forwards", "precision"):
        torch.testing.assert_close(states[0][part], states[1][part], rtol=0, atol=0)
    assert any(name.startswith("teacher") for name in states[0]["method"]) or "second" in str(
        states[0]["method"].keys()
    )
    files = [contents(run) for run in (cut, whole)]
    assert sorted(files[0]) == sorted(files[1])
    for name in ("last.safetensors", "best.safetensors"):
        assert (cut / "checkpoints" / name).read_bytes() == (whole / "checkpoints" / name).read_bytes(), name
    assert rows(cut) == rows(whole)
