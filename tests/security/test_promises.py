"""SECURITY.md names a test for each of its promises, and these are there; and the promises that no other file of tests holds."""

from __future__ import annotations

import ast
import pickle
import re
import shutil
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

from cli.conftest import call_main, tiny
from fewmask.data.convert import convert
from fewmask.data.convert.archive import Budget
from fewmask.errors import DataError
from helpers import write_dataset
from security.test_code import Hostile

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_is_named_is_there(file, name):
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_sentence_that_promises_has_its_test():
    """In brackets before its end; a table has a column for it. Advice to the reader promises nothing."""
    promises = TEXT.split("Not promised:")[0].split("## Code", 1)[1]
    bullets = re.findall(r"^- .+?(?=^- |^## |^\||^$|\Z)", promises, re.MULTILINE | re.DOTALL)
    assert len(bullets) >= 12 and len(NAMED) >= 35
    advice = ("Look with `find", "These are all that there are", "numbers and nothing else", "a case called")
    for bullet in bullets:
        bare = " ".join(bullet.split())
        sentences = re.split(r"(?<=\])[.;:] |(?<=\.)(?<!\.\.)\*\* (?=[A-Z])|(?<=[a-z`)])\. (?=[A-Z])", bare)
        for sentence in filter(None, sentences):
            headline = sentence.startswith("- **") and "[" not in sentence
            assert "::" in sentence or headline or sentence.startswith(advice), sentence
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 5 and all("::" in row for row in rows)


def test_torch_is_new_enough():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (least,) = (tuple(map(int, line.split(">=")[1].split("."))) for line in wanted if line.startswith("torch>="))
    assert least >= (2, 6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("trained")
    write_dataset(place / "blobs", cases=2, dims=2, test=1)
    assert call_main("train", "blobs", "--output", "run", *tiny(2), cwd=place).code == 0
    return place


def test_a_run_predicts_without_its_checkpoint(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "place")
    for path in (tmp_path / "place/run/checkpoints").glob("*.pt"):
        path.unlink()
    outcome = call_main("predict", "run", "blobs/imagesTs", "out", cwd=tmp_path / "place")
    assert outcome.code == 0 and (tmp_path / "place/out/test_000.png").is_file()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pickled_arrays_are_not_read(trained, tmp_path):
    """An array of the store that holds Python objects is made anew, and the objects are not."""
    shutil.copytree(trained, tmp_path / "place")
    trap = tmp_path / "executed"
    values = np.array([Hostile(trap)], dtype=object)
    paths = sorted((tmp_path / "place/blobs/.fewmask/store").rglob("*.npy"))
    assert paths
    for path in paths:
        before = path.read_bytes()
        np.save(path, values, allow_pickle=True)
        with pytest.raises(ValueError, match="allow_pickle"):
            np.load(path)
        outcome = call_main(
            "train", "blobs", "--output", f"again-{path.stem}-{len(before)}", *tiny(2), cwd=tmp_path / "place"
        )
        assert outcome.code == 0, outcome.err
        assert path.read_bytes() == before and not trap.exists()
        break
    assert pickle.dumps(values)


def test_the_budget_of_an_archive():
    assert Budget() == Budget(bytes=500 * 2**30, files=1_000_000, ratio=100, free=256 * 2**20)


@pytest.mark.parametrize("kind", ["link", "storage", "soft"])
def test_arrays_of_other_files_are_not_followed(tmp_path, kind):
    (tmp_path / "raw").mkdir()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["image"] = np.ones((3, 4, 5), np.float32)
    np.arange(60, dtype=np.float32).tofile(tmp_path / "secret.raw")
    with h5py.File(tmp_path / "raw/a.h5", "w") as file:
        file["label"] = np.zeros((3, 4, 5), np.uint8)
        if kind == "link":
            file["image"] = h5py.ExternalLink("../secret.h5", "image")
        elif kind == "soft":
            file["image"] = h5py.SoftLink("/nowhere")
        else:
            outside = [(str(tmp_path / "secret.raw"), 0, 240)]
            file.create_dataset("image", shape=(3, 4, 5), dtype=np.float32, external=outside)
    with pytest.raises(DataError, match=r"a\.h5"):
        convert("h5", tmp_path / "raw", tmp_path / "out")
