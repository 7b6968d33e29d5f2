"""The losses of single methods against their equations, in float64 and from their own networks' outputs."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from fewmask.config import MethodSection
from fewmask.methods import Progress, build_method
from toys import small_batch, small_network, small_task

TOTAL = 6000
LATE = Progress(5999, TOTAL)


def build(name, **settings):
    torch.manual_seed(0)
    return build_method(small_task(classes=3), MethodSection(name=name, **settings), small_network()).train()


def softmax(logits):
    powers = np.exp(logits.detach().numpy().astype(np.float64))
    return powers / powers.sum(1, keepdims=True)


def supervised(logits, labels, ce_weight=0.5, dice_weight=0.5):
    p, y = softmax(logits), np.eye(3)[labels.numpy()].transpose(0, 3, 1, 2)
    ce = -np.log((p * y).sum(1)).mean()
    over = (0, 2, 3)
    dice = 1 - (2 * (p * y).sum(over) + 1e-5) / ((p**2).sum(over) + (y**2).sum(over) + 1e-5)
    return ce_weight * ce + dice_weight * dice.mean()


def test_supervised():
    method = build("supervised", ce_weight=0.25, dice_weight=2.0)
    batch = small_batch(method.task, unlabelled=0)
    step = method(batch, LATE)
    wanted = supervised(method.network(batch.labelled), batch.labels, 0.25, 2.0)
    assert step.loss.item() == pytest.approx(wanted, rel=1e-5)


def test_mean_teacher():
    method = build("mean-teacher", noise=0.0)
    batch = small_batch(method.task)
    with torch.no_grad():
        for parameter in method.teacher.network.parameters():
            parameter.mul_(1.1)
    student, teacher = method.student(batch.images), method.teacher(batch.unlabelled)
    consistency = ((softmax(student[2:]) - softmax(teacher)) ** 2).mean()
    for iteration in (0, 3000, 5999):
        weight = 0.1 * math.exp(-5 * (1 - (iteration // 150) / 40) ** 2)
        wanted = supervised(student[:2], batch.labels) + weight * consistency
        step = method(batch, Progress(iteration, TOTAL))
        assert step.loss.item() == pytest.approx(wanted, rel=1e-5)
        assert step.logs["consistency_weight"] == pytest.approx(weight)
    assert consistency > 1e-4


def test_ua_mt_counts_only_where_the_teacher_is_sure():
    """Without noise and dropout all passes agree, so the mask is that of the teacher's own entropy."""
    method = build("ua-mt", noise=0.0, passes=3)
    batch = small_batch(method.task)
    with torch.no_grad():
        for parameter in method.teacher.network.parameters():
            parameter.mul_(1.6)
    student, teacher = method.student(batch.images), softmax(method.teacher(batch.unlabelled))
    uncertainty = -(teacher * np.log(teacher + 1e-6)).sum(1)
    progress = Progress(1500, TOTAL)
    threshold = (0.75 + 0.25 * math.exp(-5 * (1 - 1500 / TOTAL) ** 2)) * math.log(3)
    assert method.threshold(progress) == pytest.approx(threshold)
    mask = uncertainty < threshold
    assert 0.02 < mask.mean() < 0.98, "the threshold must divide the voxels for this test to mean something"
    squares = ((softmax(student[2:]) - teacher) ** 2).sum(1)
    consistency = (squares * mask).sum() / (3 * mask.sum())
    step = method(batch, progress)
    assert step.logs["consistency"].item() == pytest.approx(consistency, rel=1e-4)
    assert step.logs["certain"].item() == pytest.approx(mask.mean(), abs=1e-6)
    weight = 0.1 * math.exp(-5 * (1 - 10 / 40) ** 2)
    assert step.loss.item() == pytest.approx(supervised(student[:2], batch.labels) + weight * consistency, rel=1e-5)


def test_the_threshold_of_ua_mt_ends_at_the_largest_entropy():
    method = build("ua-mt")
    assert method.threshold(Progress(0, TOTAL)) == pytest.approx((0.75 + 0.25 * math.exp(-5)) * math.log(3))
    assert method.threshold(Progress(TOTAL, TOTAL)) == pytest.approx(math.log(3))


@pytest.mark.parametrize("include_labelled", [False, True])
def test_entropy_minimisation(include_labelled):
    method = build("entropy-minimisation", include_labelled=include_labelled)
    batch = small_batch(method.task)
    p = softmax(logits := method.network(batch.images))[0 if include_labelled else 2 :]
    doubt = -(p * np.log(p + 1e-6)).sum(1).mean() / math.log(3)
    assert 0.2 < doubt < 1, "a share of the largest entropy"
    step = method(batch, LATE)
    assert step.logs["entropy"].item() == pytest.approx(doubt, rel=1e-5)
    weight = 0.1 * math.exp(-5 * (1 - 39 / 40) ** 2)
    assert step.loss.item() == pytest.approx(supervised(logits[:2], batch.labels) + weight * doubt, rel=1e-5)
    assert step.logs["pseudo_foreground"].item() == pytest.approx((logits[2:].argmax(1) > 0).float().mean().item())


@pytest.mark.parametrize("include_labelled", [False, True])
def test_cps(include_labelled):
    method = build("cps", include_labelled=include_labelled)
    batch = small_batch(method.task)
    first, second = method.first(batch.images), method.second(batch.images)
    start = 0 if include_labelled else 2
    wanted = supervised(first[:2], batch.labels) + supervised(second[:2], batch.labels)
    for mine, other in [(first[start:], second[start:]), (second[start:], first[start:])]:
        chosen = np.take_along_axis(softmax(mine), other.argmax(1, keepdim=True).numpy(), 1)
        wanted += 0.1 * math.exp(-5 * (1 - 39 / 40) ** 2) * -np.log(chosen).mean()
    assert method(batch, LATE).loss.item() == pytest.approx(wanted, rel=1e-5)


def test_the_networks_of_cps_start_apart():
    for way in ("kaiming-xavier", "network"):
        method = build("cps", initialisation=way)
        pairs = zip(method.first.parameters(), method.second.parameters(), strict=True)
        assert any(p.ndim > 1 and not torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize(
    ("name", "choice", "parts"),
    [
        ("mean-teacher", "student", ["student"]),
        ("mean-teacher", "teacher", ["teacher.network"]),
        ("cps", "first", ["first"]),
        ("cps", "second", ["second"]),
        ("cps", "mean", ["first", "second"]),
    ],
)
def test_who_predicts(name, choice, parts):
    method = build(name, predict_with=choice)
    with torch.no_grad():
        for number, parameter in enumerate(method.parameters()):
            parameter.mul_(1 + 0.01 * number)
    image = small_batch(method.task).labelled
    wanted = np.mean([softmax(method.get_submodule(part)(image)) for part in parts], axis=0)
    np.testing.assert_allclose(method.predictor()(image).detach().numpy(), wanted, atol=1e-6)


def test_the_teacher_moves_once_a_step():
    method = build("mean-teacher")
    before = copy.deepcopy(method.teacher)
    method.after_step(LATE)
    before.update(method.student)
    torch.testing.assert_close(dict(method.teacher.state_dict()), dict(before.state_dict()), rtol=0, atol=0)
