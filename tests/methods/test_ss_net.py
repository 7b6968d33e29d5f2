"""SS-Net: its terms against the components, who learns, and what the release does otherwise."""

from __future__ import annotations

import math

import pytest
import torch

from fewmask.components.class_separation import rows
from fewmask.components.virtual_adversarial import adversarial_direction
from fewmask.config import MethodSection, NetworkConfig
from fewmask.methods import Progress, build_method
from toys import small_batch, small_network, small_task

END = Progress(99, 100)
CONSTANT = {"weight": 1.0, "shape": "constant"}


def build(dims=2, classes=2, **settings):
    torch.manual_seed(0)
    section = MethodSection(name="ss-net", **settings)
    return build_method(small_task(dims, classes), section, small_network()).train()


@pytest.mark.parametrize("classes", [2, 4])
def test_the_loss_is_the_sum_of_its_terms(classes):
    method = build(classes=classes, radius=4.0)
    batch = small_batch(method.task)
    output = method.network.forward_all(batch.images)
    p, y = output.logits[0].double().softmax(1), batch.labels
    losses = []
    for c in range(1, classes):
        truth = (y == c).double()
        losses.append(1 - (2 * (p[:2, c] * truth).sum() + 1e-5) / (p[:2, c].sum() + truth.sum() + 1e-5))
    torch.manual_seed(5)
    direction = adversarial_direction(method.network, batch.images, p.float(), probe=10.0)
    moved = method.network(batch.images + 4.0 * direction).double().softmax(1)
    smooth = 1 - 2 * (moved * p).sum() / (moved.sum() + p.sum())
    weight = math.exp(-5 * (1 - 39 / 40) ** 2)
    torch.manual_seed(5)
    step = method(batch, END)
    assert step.logs["smoothness"].item() == pytest.approx(smooth.item(), rel=1e-4)
    assert step.logs["separation"] > 0
    wanted = torch.stack(losses).mean() + weight * (smooth + 0.1 * step.logs["separation"])
    assert step.loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    # Both halves are compared with the memory that was written in this step; its heads are in train mode.
    again = method.separation(output.taps["last"][:2], y) + method.separation(output.taps["last"][2:], p[2:].argmax(1))
    assert step.logs["separation"].item() == pytest.approx(again.item(), rel=1e-4)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_heads_learn_by_the_separation_alone(weight):
    method = build(dice_weight=0, unlabelled=CONSTANT, separation_weight=weight)
    method(small_batch(method.task), END).loss.backward()
    heads = any(p.grad is not None and bool(p.grad.any()) for p in method.separation.parameters())
    assert heads == bool(weight)
    assert any(p.grad is not None and bool(p.grad.any()) for p in method.network.encoder.parameters())


def test_the_power_step_leaves_no_gradient_behind():
    """The gradient of a step with the direction at hand is that of the whole method."""
    method = build(unlabelled=CONSTANT, separation_weight=0.0)
    batch = small_batch(method.task)
    torch.manual_seed(5)
    method(batch, END).loss.backward()
    found = [p.grad.clone() for p in method.network.parameters()]
    method.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    z = method.network(batch.images)
    target = z.detach().softmax(1)
    direction = adversarial_direction(method.network, batch.images, target, probe=10.0)
    moved = method.network(batch.images + 10.0 * direction).softmax(1)
    loss = method.supervised(z, batch.labels).loss + 1 - 2 * (moved * target).sum() / (moved.sum() + target.sum())
    loss.backward()
    for mine, theirs in zip(found, method.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.grad, rtol=1e-3, atol=1e-6)


def test_batch_norm_sees_the_clean_images_alone():
    section = MethodSection(name="ss-net", unlabelled=CONSTANT)
    method = build_method(small_task(), section, small_network(norm="batch")).train()
    method(small_batch(method.task), END)
    norms = [part for part in method.network.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms and {int(norm.num_batches_tracked) for norm in norms} == {1}


def test_what_the_release_remembers():
    """The lowest scores, and the foreground alone."""
    found = {}
    for released in (False, True):
        method = build(as_released=released, separation={"slots": 4})
        batch = small_batch(method.task)
        features, right = method.network.forward_all(batch.labelled).taps["last"].detach(), batch.labels
        method.separation.remember(features, batch.labels, right)
        method.separation.eval()
        place = len(method.separation.selectors) - 1
        projected = method.separation.projection(rows(features)[(right == 1).flatten()])
        scores = method.separation.selectors[place](projected).squeeze(1)
        kept = method.separation.selectors[place](method.separation.memory[place]).squeeze(1)
        edge = scores.sort(descending=not released).values[: len(kept)]
        torch.testing.assert_close(kept.sort(descending=not released).values, edge)
        found[released] = tuple(method.separation.memory.shape), method.separation.config.keep
        assert method.separation.config.fallback != released
    assert found == {False: ((2, 4, 32), "highest"), True: ((1, 4, 32), "lowest")}, "other settings stay"


def test_squares_go_class_by_class():
    plain, squared = (
        build(dice_squared=value)(small_batch(small_task()), END).logs["smoothness"] for value in (False, True)
    )
    assert plain.item() != pytest.approx(squared.item(), rel=0.01)


def test_the_published_size():
    """DUPL prints 9.45 M: the V-Net and the point-wise heads."""
    method = build_method(small_task(3), MethodSection(name="ss-net", as_released=True), NetworkConfig())
    heads = (16 * 32 + 32) + 64 + (32 * 32 + 32) + 2 * (32 * 32 + 32) + 64
    selectors = 2 * ((32 * 32 + 32) + 64 + 33)
    assert sum(p.numel() for p in method.parameters()) == 9_448_866 + heads + selectors == 9_455_012
    whole = build_method(small_task(3), MethodSection(name="ss-net"), NetworkConfig())
    assert sum(p.numel() for p in whole.parameters()) == 9_455_012 + selectors == 9_457_318
