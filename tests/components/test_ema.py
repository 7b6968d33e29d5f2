from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fewmask.components.ema import Teacher


def student():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def drift(network, rng):
    """Move every weight and statistic of a network, as training would."""
    for value in [*network.parameters(), *network.buffers()]:
        value.data += torch.from_numpy(rng.uniform(1, 2, value.shape)).to(value.dtype)


def test_weights_follow_the_rule_in_float64():
    network = student()
    teacher = Teacher(network, decay=0.9)
    expected, rng = None, np.random.default_rng(0)
    for i in range(30):
        drift(network, rng)
        teacher.update(network)
        weights = network[0].weight.detach().numpy().astype(np.float64)
        alpha = min(1 - 1 / (i + 1), 0.9)
        expected = weights if expected is None else alpha * expected + (1 - alpha) * weights
        np.testing.assert_allclose(teacher.network[0].weight.numpy(), expected, rtol=1e-5)


def test_a_decay_that_is_fixed_from_the_start():
    network = student()
    teacher, rng = Teacher(network, decay=0.9, early=False), np.random.default_rng(0)
    expected = network[0].weight.detach().numpy().astype(np.float64)
    for _ in range(5):
        drift(network, rng)
        teacher.update(network)
        expected = 0.9 * expected + 0.1 * network[0].weight.detach().numpy().astype(np.float64)
        np.testing.assert_allclose(teacher.network[0].weight.numpy(), expected, rtol=1e-5)


def test_the_first_update_copies_the_student_to_the_bit():
    network = student()
    teacher = Teacher(network)
    drift(network, np.random.default_rng(0))
    teacher.update(network)
    for mine, theirs in zip(teacher.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_number_of_updates_survives_saving():
    network = student()
    first, second = Teacher(network), Teacher(network)
    for _ in range(3):
        first.update(network)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    drift(network, np.random.default_rng(1))
    first.update(network), second.update(network)
    assert torch.equal(first.network[0].weight, second.network[0].weight)
    assert int(second.updates) == 4


def test_no_update_but_the_first_asks_the_device_for_their_number(monkeypatch):
    network = student()
    teacher = Teacher(network)
    teacher.update(network)
    monkeypatch.setattr(torch.Tensor, "__int__", lambda self: pytest.fail("a GPU would be waited for"))
    teacher.update(network)
    assert teacher.updates == 2


def test_the_number_of_updates_is_read_again_after_loading():
    network = student()
    fresh, old = Teacher(network), Teacher(network)
    for _ in range(5):
        old.update(network)
    start = copy.deepcopy(fresh.state_dict())
    for _ in range(3):
        fresh.update(network)
    fresh.load_state_dict(old.state_dict())
    drift(network, np.random.default_rng(1))
    old.update(network), fresh.update(network)
    assert torch.equal(old.network[0].weight, fresh.network[0].weight)
    fresh.load_state_dict(start)
    fresh.update(network)
    assert torch.equal(fresh.network[0].weight, network[0].weight), "the first update copies"


@pytest.mark.parametrize("rule", ["own", "copy", "average"])
def test_running_statistics(rule):
    network = student()
    teacher = Teacher(network, decay=0.5, buffers=rule)
    rng = np.random.default_rng(0)
    start, means = network[1].running_mean.clone(), []
    for _ in range(3):
        drift(network, rng)
        means.append(network[1].running_mean.clone())
        teacher.update(network)
    # Decays are 0, 1/2, 1/2.
    wanted = {"own": start, "copy": means[2], "average": means[0] / 4 + means[1] / 4 + means[2] / 2}
    torch.testing.assert_close(teacher.network[1].running_mean, wanted[rule])
    counted = 0 if rule == "own" else network[1].num_batches_tracked
    assert teacher.network[1].num_batches_tracked == counted


def test_own_statistics_move_by_the_teachers_forward_in_train_mode_only():
    teacher = Teacher(student())
    image = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + 3
    teacher.eval()(image)
    assert teacher.network[1].running_mean.abs().sum() == 0
    teacher.train()(image)
    assert teacher.network[1].running_mean.abs().sum() > 0


def test_nothing_of_the_teacher_trains():
    network = student()
    teacher = Teacher(network)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in network.parameters())
    image = torch.randn(1, 1, 8, 8, requires_grad=True)
    assert not teacher(image).requires_grad
