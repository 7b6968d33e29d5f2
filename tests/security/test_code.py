"""Files that hold code are refused, and the code does not run."""

from __future__ import annotations

import io
import os
import pickle
import tarfile

import pytest
import torch
from torch import nn

from cli.conftest import call_main, tiny
from fewmask.config import load_experiment, parse_assignment, read_yaml
from fewmask.engine.checkpoint import load_state
from fewmask.errors import ConfigError, RunError
from fewmask.inference.weights import load_weights
from helpers import write_dataset


class Hostile:
    """Makes a folder when it is unpickled; stands for any code."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def as_zip(path, values):
    torch.save(values, path)


def as_legacy_stream(path, values):
    torch.save(values, path, _use_new_zipfile_serialization=False)


def as_plain_pickle(path, values):
    path.write_bytes(pickle.dumps(values))


def as_legacy_tar(path, values):
    """As torch wrote before 0.1.10: a tar of pickles."""
    parts = {"sys_info": {}, "pickle": values, "storages": 0, "tensors": 0}
    with tarfile.open(path, "w") as archive:
        for name, part in parts.items():
            content = pickle.dumps(part, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def as_torchscript(path, values):
    """A zip that torch.load hands to the TorchScript reader; the pickle beside it is hostile."""
    torch.jit.script(nn.Linear(1, 1)).save(str(path))


WRITERS = [as_zip, as_legacy_stream, as_plain_pickle, as_legacy_tar, as_torchscript]
QUIET = pytest.mark.filterwarnings(
    "ignore:Detected pickle protocol", "ignore:.*torch.jit", "ignore::DeprecationWarning"
)


@QUIET
@pytest.mark.parametrize("write", WRITERS)
def test_a_hostile_checkpoint_is_refused_in_every_container(tmp_path, write):
    path, trap = tmp_path / "last.pt", tmp_path / "executed"
    write(path, {"state": Hostile(trap), "method": {}, "optimisers": {}})
    with pytest.raises(RunError, match=r"last\.pt cannot be read as a checkpoint \([^\n]+$"):
        load_state(path)
    assert not trap.exists()


@QUIET
@pytest.mark.parametrize("write", WRITERS)
def test_hostile_weights_are_refused_in_every_container(tmp_path, write):
    path, trap = tmp_path / "last.safetensors", tmp_path / "executed"
    write(path, {"weight": Hostile(trap)})
    with pytest.raises(RunError, match=r"last\.safetensors cannot be read as weights"):
        load_weights(path, nn.Linear(1, 1))
    assert not trap.exists()


def test_the_traps_work(tmp_path):
    """Unpickled without care, these would have run."""
    for number, write in enumerate((as_zip, as_legacy_stream, as_plain_pickle)):
        trap = tmp_path / f"executed {number}"
        write(tmp_path / "file", {"weight": Hostile(trap)})
        if write is as_plain_pickle:
            pickle.loads((tmp_path / "file").read_bytes())
        else:
            torch.load(tmp_path / "file", weights_only=False)
        assert trap.exists()


GADGETS = {
    "attribute of a module": b"cos\nsystem\n(S'true'\ntR.",
    "nested attribute": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x01\x31\x85R.",
    "persistent id": b"P../../etc/passwd\n.",
    "build": b"\x80\x02ccollections\nOrderedDict\n)R}X\x0a\x00\x00\x00__setstateX\x01\x00\x00\x00ssb.",
    "unknown opcode": b"\x80\x02\xff.",
    "memo that is not there": b"\x80\x02h\x07.",
    "stack underflow": b"\x80\x02R.",
    "deep": b"\x80\x02" + b"(" * 100_000 + b".",
}


@QUIET
@pytest.mark.parametrize("gadget", GADGETS.values(), ids=GADGETS)
def test_every_odd_pickle_is_one_sentence(tmp_path, gadget):
    path = tmp_path / "last.pt"
    path.write_bytes(gadget)
    with pytest.raises(RunError) as error:
        load_state(path)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished tiny run, and the folder that it lies in."""
    place = tmp_path_factory.mktemp("trained")
    write_dataset(place / "blobs", cases=2, dims=2)
    outcome = call_main("train", "blobs", "--output", "run", *tiny(2), cwd=place)
    assert outcome.code == 0, outcome.err
    return place


@QUIET
def test_the_program_ends_with_one_sentence_and_code_1(trained):
    checkpoints, trap = trained / "run" / "checkpoints", trained / "executed"
    as_zip(checkpoints / "last.pt", {"state": Hostile(trap), "method": {}, "optimisers": {}})
    as_zip(checkpoints / "last.safetensors", {"weight": Hostile(trap)})
    for words in (
        ("train", "blobs", "--output", "run", "--resume", "auto", *tiny(2)),
        ("predict", "run", "blobs/imagesTr", "predictions"),
        ("export", "run", "model.pt2"),
    ):
        outcome = call_main(*words, cwd=trained)
        assert outcome.code == 1
        assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
        assert "last." in outcome.err
    assert not trap.exists()


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE_YAML = {
    "object": "train: !!python/object/apply:os.mkdir ['{trap}']",
    "new": "train: !!python/object/new:os.mkdir ['{trap}']",
    "name": "train: !!python/name:os.system",
    "module": "train: !!python/module:os",
    "bomb": BOMB,
    "loop": "train: &a [*a]",
    "tower": "[" * 1500,
    "no such day": "train: 2020-02-31",
}


@pytest.mark.parametrize("text", HOSTILE_YAML.values(), ids=HOSTILE_YAML)
def test_hostile_yaml_is_refused(tmp_path, text):
    path, trap = tmp_path / "recipe.yaml", tmp_path / "executed"
    path.write_text(text.replace("{trap}", str(trap)))
    for read in (read_yaml, load_experiment):
        with pytest.raises(ConfigError, match=r"recipe\.yaml: is not valid YAML") as error:
            read(path)
        assert len(str(error.value)) < 1000
    assert not trap.exists()


@pytest.mark.parametrize("value", ["!!python/name:os.system", "&a [*a]", "[" * 1500, "2020-02-31"])
def test_hostile_settings_on_the_command_line_are_refused(value):
    with pytest.raises(ConfigError, match="is not valid YAML"):
        parse_assignment(f"train.lr={value}")
