"""Real processes of the program to kill, small disks to fill, and a training that both can happen to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import write_dataset

TESTS = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TESTS.parent / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
TINY = {
    "sampling.patch_size": "[16,16,16]",
    "sampling.workers": "0",
    "network.width": "2",
    "train.iterations": "30",
    "train.checkpoint_every": "3",
    "train.validate_every": "7",
    "train.log_every": "2",
    "train.accelerator": "cpu",
}


def wait_for(happened, timeout=60, pause=0.0005):
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

    def start(self, *words):
        """`fewmask WORDS` in the background."""
        self.started += 1
        log = self.folder / f"{self.started}.log"
        log.touch()
        return Process(self, self.ask(start=[str(word) for word in words], cwd=str(self.folder), log=str(log)), log)

    def run(self, *words, code=0):
        """`fewmask WORDS` to its end, which must be ``code``; what it said."""
        process = self.start(*words)
        assert process.code() == code, process.said
        return process.said

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc, as Linux has it")
    made = Server(tmp_path_factory.mktemp("processes"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A small 3D data set."""
    return write_dataset(tmp_path_factory.mktemp("faults") / "data", cases=4, unlabelled=2, test=1)


@pytest.fixture(scope="session")
def words(data):
    """The words of a training on it: two labelled cases, one for validation."""

    def make(output, method="mean-teacher", dataset=data, store=None, **settings):
        chosen = TINY | {key.replace("__", "."): str(value) for key, value in settings.items()}
        options = [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]
        place = ["--store", store] if store else []
        budget = ["--method", method, "--labelled", "3", "--val", "1"]
        return ["train", dataset, "--output", output, "--resume", "auto", *budget, *place, *options]

    return make


@pytest.fixture(scope="session")
def undisturbed(server, words, tmp_path_factory):
    """A finished run of a method, made once."""
    runs = {}

    def make(method, **settings):
        key = (method, *sorted(settings.items()))
        if key not in runs:
            runs[key] = tmp_path_factory.mktemp("undisturbed") / method
            server.run(*words(runs[key], method, **settings))
        return runs[key]

    return make


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


@pytest.fixture
def disk(tmp_path):
    """Makes a small disk; skips where that takes rights that are missing."""
    made = []

    def make(size="16m"):
        try:
            made.append(Disk(tmp_path / f"disk{len(made)}", size))
        except FileNotFoundError:
            pytest.skip("needs the program unshare")
        if made[-1].problem:
            pytest.skip(f"cannot mount a small disk here: {made[-1].problem}")
        return made[-1]

    yield make
    for one in made:
        one.close()


def contents(folder):
    """Every file below a folder and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
