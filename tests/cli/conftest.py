"""Small data sets, two ways to call the program, and trained runs that many tests look at."""

import contextlib
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

from fewmask.cli import main
from helpers import write_dataset

SOURCES = str(Path(__file__).resolve().parents[2] / "src")
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


def run_program(*words, cwd, timeout=120):
    """The real program, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, "-m", "fewmask", *map(str, words)]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
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


@pytest.fixture(scope="session")
def program():
    return run_program


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with a 3D data set of two classes and a 2D RGB one of three."""
    root = tmp_path_factory.mktemp("cli")
    write_dataset(root / "heart", cases=4, unlabelled=1, test=2)
    order = ["case_002", "case_000", "case_003", "case_001"]
    write_dataset(root / "skin", cases=4, unlabelled=1, test=2, dims=2, channels=3, classes=3, training_order=order)
    return root


@pytest.fixture(scope="session")
def cli(place):
    def call(*words, cwd=place):
        return call_main(*words, cwd=cwd)

    return call


@pytest.fixture(scope="session")
def train_words():
    """The words of a tiny training."""

    def words(dataset, output, *more, dims=3):
        return ["train", dataset, "--output", output, "--labelled", "2", "--val", "1", *tiny(dims), *more]

    return words


@pytest.fixture(scope="session")
def runs(place, cli, train_words):
    """A 3D and a 2D run."""
    for dataset, dims in (("heart", 3), ("skin", 2)):
        outcome = cli(*train_words(dataset, f"runs/{dataset}", "--method", "mean-teacher", dims=dims))
        assert outcome.code == 0, outcome.err
    return place / "runs"
