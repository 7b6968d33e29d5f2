from __future__ import annotations

import os
import pickle

import pytest
import torch
from torch import nn

from fewmask.engine.checkpoint import TrainState, load_state, save_state
from fewmask.errors import RunError
from fewmask.inference.weights import load_weights, save_weights


def network(width=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width))


def trained(module):
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.randn(2, 1, 8, 8)).square().sum().backward()
    optimiser.step()
    return optimiser


def test_state_round_trip(tmp_path):
    module = network()
    optimiser = trained(module)
    path, state = tmp_path / "last.pt", TrainState(1, 20, 120, 0.75, 3.5)
    save_state(path, state, module, {"main": optimiser})
    values = load_state(path)
    assert TrainState(**values["state"]) == state
    torch.testing.assert_close(values["method"], dict(module.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(values["optimisers"]["main"]["state"], optimiser.state_dict()["state"], rtol=0, atol=0)


class Hostile:
    """Unpickling this makes a folder."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, write):
    path, trap = tmp_path / "last.pt", tmp_path / "executed"
    values = {"state": {}, "method": Hostile(trap), "optimisers": {}}
    if write == "torch":
        torch.save(values, path)
    else:
        path.write_bytes(pickle.dumps(values))
    with pytest.raises(RunError, match=r"last\.pt cannot be read as a checkpoint"):
        load_state(path)
    assert not trap.exists()


def test_damaged_files_are_refused(tmp_path):
    """Cut anywhere, or with a stretch overwritten: either the content is intact, or the error is the user's kind."""
    module = network()
    whole, path = tmp_path / "whole.pt", tmp_path / "last.pt"
    save_state(whole, TrainState(), module, {"main": trained(module)})
    data = whole.read_bytes()
    for end in range(0, len(data) - 1, len(data) // 23):
        path.write_bytes(data[:end])
        with pytest.raises(RunError):
            load_state(path)
    for start in range(0, len(data), len(data) // 60):
        path.write_bytes(data[:start] + b"\x9b" * 40 + data[start + 40 :])
        try:
            load_state(path)
        except RunError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("values", [[1, 2], {"state": {}}, "text"])
def test_another_programs_checkpoint_is_refused(tmp_path, values):
    torch.save(values, tmp_path / "last.pt")
    with pytest.raises(RunError, match="not a checkpoint of fewmask"):
        load_state(tmp_path / "last.pt")


def test_weights_round_trip_with_notes(tmp_path):
    path = tmp_path / "last.safetensors"
    first, second = network(seed=0), network(seed=1)
    trained(first)
    save_weights(path, first, {"iteration": "7"})
    assert load_weights(path, second) == {"iteration": "7"}
    torch.testing.assert_close(dict(second.state_dict()), dict(first.state_dict()), rtol=0, atol=0)


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    save_weights(path, network(3), {})
    for other in (network(4), nn.Conv2d(1, 3, 3)):
        with pytest.raises(RunError, match=r"does not fit the run's config: \d tensors differ"):
            load_weights(path, other)


def test_damaged_weights_are_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    save_weights(path, network(), {})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RunError, match="cannot be read as weights"):
        load_weights(path, network())
    with pytest.raises(RunError, match="cannot be read as weights"):
        load_weights(tmp_path / "none.safetensors", network())
