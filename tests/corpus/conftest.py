"""A sound data set in 3D and one in 2D with a run of each; every case breaks a copy of its own."""

import shlex
import shutil

import pytest

from corpus.harness import call, check_found, check_refused, check_works
from helpers import write_dataset
from program import tiny


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """``heart`` (3D, one channel, two classes), ``skin`` (2D, RGB, three classes), and a run of each in ``runs``."""
    place = tmp_path_factory.mktemp("sound")
    write_dataset(place / "heart", cases=3, unlabelled=1, test=2)
    write_dataset(place / "skin", cases=3, unlabelled=1, test=2, dims=2, channels=3, classes=3)
    for dataset, dims in (("heart", 3), ("skin", 2)):
        words = ["train", dataset, "--output", f"runs/{dataset}", "--labelled", "2", "--val", "1", *tiny(dims)]
        assert call(place, *words).code == 0
        words = f"predict runs/{dataset} {dataset}/imagesTs runs/{dataset}/predictions"
        assert call(place, *shlex.split(words)).code == 0
        assert call(place, "evaluate", f"runs/{dataset}/predictions", f"{dataset}/labelsTs").code == 0
        shutil.rmtree(place / dataset / ".fewmask")
    return place


@pytest.fixture
def place(sound, tmp_path):
    """A copy of the sound folder, to be broken."""
    return shutil.copytree(sound, tmp_path / "place")


@pytest.fixture
def refused(place):
    """Break the copy as a case says, type its command, and hold the program to the rules of `check_refused`."""
    return lambda case: check_refused(place, case)


@pytest.fixture
def found(place):
    """The same for what `fewmask check` must find."""
    return lambda case: check_found(place, case)


@pytest.fixture
def works(place):
    """The same for what looks odd and is legal."""
    return lambda case: check_works(place, case)
