"""MCF against its equations in float64, and who learns what."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fewmask.components.competition import learn_from_winner
from fewmask.config import MethodSection, NetworkConfig
from fewmask.methods import Progress, build_method
from toys import small_batch, small_network, small_task

END = Progress(99, 100)


def build(classes=2, **settings):
    torch.manual_seed(0)
    section = MethodSection(name="mcf", **settings)
    return build_method(small_task(2, classes), section, small_network()).train()


def power(logits, temperature=1.0):
    z = logits.detach().numpy().astype(np.float64) / temperature
    powers = np.exp(z - z.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def dice(p, y):
    """Squared, of the foreground classes."""
    over = (0, 2, 3)
    losses = 1 - (2 * (p * y).sum(over) + 1e-5) / ((p**2).sum(over) + (y**2).sum(over) + 1e-5)
    return losses[1:].mean()


def far_apart(method, worse):
    """Makes one network's output more than wrong: its labelled Dice loss is the larger one."""
    with torch.no_grad():
        output = getattr(method, worse).decoders[0]
        output = getattr(output, "output", None) or output.outputs[0]
        output.bias += torch.tensor([3.0, *[-3.0] * (len(output.bias) - 1)])
    return method


@pytest.mark.parametrize("worse", ["first", "second"])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_loss(classes, worse):
    method = far_apart(build(classes), worse)
    batch = small_batch(method.task)
    z = [network(batch.images) for network in (method.first, method.second)]
    p, y = [power(one) for one in z], np.moveaxis(np.eye(classes)[batch.labels.numpy()], -1, 1)
    differ = p[0][:2].argmax(1) != p[1][:2].argmax(1)
    assert 0.02 < differ.mean() < 0.98
    wanted = 0.0
    for one in p:
        squares = ((one[:2] - y) ** 2)[:, 1:].sum(1)
        wanted += -np.log((one[:2] * y).sum(1)).mean() + dice(one[:2], y)
        wanted += 0.5 * squares[differ].mean()
    loser = 0 if worse == "first" else 1
    assert dice(p[loser][:2], y) > dice(p[1 - loser][:2], y)
    learnt = ((p[loser][2:] - power(z[1 - loser][2:], 0.1)) ** 2).mean()
    weight = 0.1 * math.exp(-5 * (1 - 39 / 40) ** 2)
    step = method(batch, END)
    assert step.logs["competition"].item() == pytest.approx(learnt, rel=1e-4)
    assert step.loss.item() == pytest.approx(wanted + weight * learnt, rel=1e-5)
    assert bool(step.logs["first_wins"]) == (worse == "second")


@pytest.mark.parametrize("worse", ["first", "second"])
def test_only_the_loser_learns_from_the_winner(worse):
    constant = {"weight": 1.0, "shape": "constant"}
    method = far_apart(build(ce_weight=0, dice_weight=0, review=0, competition=constant), worse)
    method(small_batch(method.task), END).loss.backward()
    moved = {
        name: any(p.grad is not None and bool(p.grad.any()) for p in getattr(method, name).parameters())
        for name in ("first", "second")
    }
    assert moved == {"first": worse == "first", "second": worse == "second"}


def test_the_competition_by_hand():
    """Logits (0, ln 2) and (0, ln 3) are p = 2/3 and q = 3/4; at T = 1/2 q becomes 9/10."""
    first, second = (torch.tensor([0.0, math.log(v)]).reshape(1, 2, 1) for v in (2, 3))
    wins = torch.tensor(False)
    assert learn_from_winner(first, second, wins, 0.5).item() == pytest.approx((2 / 3 - 9 / 10) ** 2, rel=1e-5)
    # The other way: 3/4 against (2/3)^2 : (1/3)^2 = 4/5.
    assert learn_from_winner(first, second, ~wins, 0.5).item() == pytest.approx((3 / 4 - 4 / 5) ** 2, rel=1e-4)


def test_networks_that_agree_have_nothing_to_review():
    method = build(review=1.0, partner="unet-2d")
    method.second.load_state_dict(method.first.state_dict())
    step = method(small_batch(method.task), END)
    assert step.logs["review"] == 0 and step.logs["differ"] == 0


def test_the_published_size():
    method = build_method(small_task(3), MethodSection(name="mcf"), NetworkConfig())
    assert sum(p.numel() for p in method.parameters()) == 27_379_220
