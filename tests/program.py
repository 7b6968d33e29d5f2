"""Two ways to call the real program: in a process of its own, or, quicker, inside this one."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from fewmask.cli import main

SOURCES = str(Path(__file__).resolve().parents[1] / "src")
TINY = ["train.iterations=4", "train.checkpoint_every=2", "train.log_every=1", "sampling.workers=0", "network.width=2"]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def next(self):
        """The words after `fewmask` of the command that the last line suggests."""
        start, words = self.out.rstrip().splitlines()[-1].split("fewmask ", 1)
        assert start == "next: "
        return shlex.split(words)


def run_program(*words, cwd, timeout=120, **environment):
    """The real program, in a process of its own."""
    settings = {**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1", "COLUMNS": "100", **environment}
    command = [sys.executable, "-m", "fewmask", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=timeout, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def call_main(*words, cwd):
    """The same program inside this process: what `fewmask WORDS` prints and the code that it exits with."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    arguments = mock.patch.object(sys, "argv", ["fewmask", *map(str, words)])
    columns = mock.patch.dict(os.environ, {"COLUMNS": "100"})
    with arguments, columns, contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return Outcome(code, out.getvalue(), err.getvalue())


def tiny(dims):
    """Options that make a training last a second."""
    settings = [*TINY, f"sampling.patch_size={[16] * 3 if dims == 3 else [32, 32]}"]
    return [word for setting in settings for word in ("--set", setting)]
