"""`kill -9` of the verbs whose files bear times: typed again, each ends as if undisturbed, but for those times.

As `test_kill_verbs`, with as many points: `bench run` with its worker, which goes with it, `bench report`, and the demo.
"""

from __future__ import annotations

import json

import pytest
import yaml

from faults.test_kill_verbs import POINTS, kill_and_repeat
from fewmask.engine.checkpoint import load_state
from helpers import write_dataset
from processes import rows

RECIPE = {
    "sampling": {"patch_size": [16, 16], "workers": 0},
    "network": {"width": 2, "norm": "group"},
    "train": {"iterations": 4, "log_every": 2, "checkpoint_every": 2, "accelerator": "cpu"},
}
SUITE = {
    "title": "blobs",
    "data": {"blobs": {"dataset": "blobs", "recipe": "tiny.yaml", "labelled": [2]}},
    "methods": ["supervised"],
    "seeds": [0],
    "baseline": "supervised",
}
TIMES = {"seconds", "began", "process"}


@pytest.fixture(scope="module")
def template(server, tmp_path_factory):
    """A suite, its data, and the same comparison done."""
    world = tmp_path_factory.mktemp("template")
    (world / "tmp").mkdir()
    write_dataset(world / "blobs", dims=2, cases=3, unlabelled=1, test=1)
    (world / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    (world / "suite.yaml").write_text(yaml.safe_dump(SUITE))
    server.run("bench", "run", world / "suite.yaml", "-o", world / "done")
    return world


def settled(world):
    """Every file below with what it says, as far as no clock has written it."""
    return {str(path.relative_to(world)): _says(path) for path in world.rglob("*")}


def _says(path):
    if path.is_dir() or path.suffix in (".html", ".svg", ".md", ".log") or "report" in path.parts:
        return path.is_dir()  # pages tell how long it took
    if path.name == "metrics.csv":
        return rows(path.parent)
    if path.name in ("last.pt", "previous.pt"):
        values = load_state(path)
        return [values["state"] | {"seconds": 0}, str(values["method"]), str(values["optimisers"])]
    if path.name in ("state.json", "environment.json"):
        return sorted(json.loads(path.read_text()))
    return path.read_bytes()


@pytest.mark.parametrize("verb", ["bench run", "bench report", "demo"])
def test_killed_at_any_change_and_typed_again(server, template, tmp_path, verb):
    world = tmp_path / "world"
    words = {
        "bench run": ["bench", "run", world / "suite.yaml", "-o", world / "out"],
        "bench report": ["bench", "report", world / "done"],
        "demo": ["demo", "-o", world / "out", "--iterations", "2"],
    }[verb]
    kill_and_repeat(server, template, world, words, see=settled, points=1 if POINTS < 5 else POINTS, small_demo=True)
