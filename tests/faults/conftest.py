"""The program in processes of its own, a training to disturb, and the same training undisturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import write_dataset
from processes import Disk, Server

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
