"""Small data sets, two ways to call the program, and trained runs that many tests look at."""

import pytest

from helpers import write_dataset
from program import call_main, run_program, tiny


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
