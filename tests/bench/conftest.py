"""A small data set and a suite on it."""

import pytest
import yaml

from helpers import write_dataset
from program import SOURCES

RECIPE = {
    "sampling": {"patch_size": [32, 32], "workers": 0},
    "network": {"width": 2, "norm": "group"},
    "train": {"iterations": 4, "log_every": 1, "checkpoint_every": 2, "accelerator": "cpu"},
}
SUITE = {
    "title": "blobs",
    "data": {"blobs": {"dataset": "../blobs", "recipe": "tiny.yaml", "labelled": [2, "75%"]}},
    "methods": ["supervised", "mean-teacher"],
    "seeds": [0, 1],
    "baseline": "supervised",
}


@pytest.fixture(scope="session")
def blobs(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "blobs", dims=2, cases=4, unlabelled=2, test=2)


@pytest.fixture
def write_suite(tmp_path, blobs, monkeypatch):
    """Writes a suite on the small data set, with changes; returns its file. Processes that are started find these sources."""
    monkeypatch.setenv("PYTHONPATH", SOURCES)

    def write(recipe=None, **changes):
        data = {**SUITE["data"]["blobs"], "dataset": str(blobs), **changes.pop("blobs", {})}
        values = {**SUITE, "data": {"blobs": data}, **changes}
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe or RECIPE))
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write
