"""Bidirectional copy-paste against its equations in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fewmask.components.box_mix import random_box
from fewmask.components.mask_codes import largest_components
from fewmask.config import MethodSection
from fewmask.errors import ConfigError
from fewmask.methods import Progress, build_method
from toys import small_batch, small_network, small_task

PRETRAIN, TRAIN = (Progress(50, 100, phase) for phase in ("pretrain", "train"))


def build(dims=2, classes=2, **settings):
    torch.manual_seed(0)
    section = MethodSection(name="bcp", **settings)
    return build_method(small_task(dims, classes), section, small_network()).train()


def box(method, seed):
    torch.manual_seed(seed)
    return random_box(method.task.patch_size, 2 / 3)


def region_loss(logits, labels, region, squared=False):
    """Half cross-entropy, half Dice, over a region; of each sample and class, or with squares of the pooled batch."""
    z, classes = logits.detach().numpy().astype(np.float64), logits.shape[1]
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    y, m = np.moveaxis(np.eye(classes)[labels.numpy()], -1, 1), region.numpy()
    ce = -np.log((p * y).sum(1))[:, m].mean()
    p, y = p[:, :, m], y[:, :, m]
    over = (0, 2) if squared else 2
    size = (p**2).sum(over) + (y**2).sum(over) if squared else p.sum(over) + y.sum(over)
    return 0.5 * ce + 0.5 * (1 - (2 * (p * y).sum(over) + 1e-5) / (size + 1e-5)).mean()


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("dims", [2, 3])
def test_training(dims, squared):
    method = build(dims, 3, dice_squared=squared)
    with torch.no_grad():
        for parameter in method.teacher.network.parameters():
            parameter.mul_(1.3)
    batch, inside = small_batch(method.task, labelled=4, unlabelled=4), box(method, 7)
    a, b, p, q = *batch.labelled.split(2), *batch.unlabelled.split(2)
    y_a, y_b = batch.labels.split(2)
    y_p, y_q = largest_components(method.teacher(batch.unlabelled).argmax(1), 3).split(2)
    assert (y_p > 0).any() and (y_q > 0).any()
    pasted_in, pasted_out = method.student(torch.where(inside, p, a)), method.student(torch.where(inside, b, q))
    sure = region_loss(pasted_in, y_a, ~inside, squared) + region_loss(pasted_out, y_b, inside, squared)
    unsure = region_loss(pasted_in, y_p, inside, squared) + region_loss(pasted_out, y_q, ~inside, squared)
    torch.manual_seed(7)
    step = method(batch, TRAIN)
    assert step.logs["unlabelled"].item() == pytest.approx(unsure, rel=1e-4)
    assert step.loss.item() == pytest.approx(sure + 0.5 * unsure, rel=1e-5)


@pytest.mark.parametrize(("settings", "progress"), [({}, PRETRAIN), ({"unlabelled": {"weight": 0.0}}, TRAIN)])
def test_pre_training_mixes_labelled_patches(settings, progress):
    method = build(**settings)
    batch, inside = small_batch(method.task, labelled=2, unlabelled=0), box(method, 7)
    (a, b), (y_a, y_b) = batch.labelled.split(1), batch.labels.split(1)
    mixed = method.student(torch.where(inside, b, a))
    wanted = region_loss(mixed, torch.where(inside, y_b, y_a), torch.ones_like(inside))
    torch.manual_seed(7)
    assert method(batch, progress).loss.item() == pytest.approx(wanted, rel=1e-5)


def test_pre_training_in_two_regions():
    """The sum over both regions, as the 2D code has it."""
    method = build(3, pretrain_loss="regions")
    batch, inside = small_batch(method.task, labelled=4, unlabelled=0), box(method, 7)
    (a, b), (y_a, y_b) = batch.labelled.split(2), batch.labels.split(2)
    mixed = method.student(torch.where(inside, b, a))
    torch.manual_seed(7)
    step = method(batch, PRETRAIN)
    assert step.loss.item() == pytest.approx(
        region_loss(mixed, y_a, ~inside) + region_loss(mixed, y_b, inside), rel=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "sides"), [((112, 112, 80), (74, 74, 53)), ((256, 256), (170, 170)), ((96,) * 3, (64,) * 3)]
)
def test_published_boxes(shape, sides):
    inside = random_box(shape, 2 / 3)
    places = inside.nonzero()
    assert tuple((places.amax(0) - places.amin(0) + 1).tolist()) == sides
    assert inside.sum() == np.prod(sides)


def test_pseudo_labels_are_one_piece():
    method = build(largest_component=True)
    batch = small_batch(method.task, labelled=2, unlabelled=2)
    found = torch.zeros(2, 32, 32, dtype=torch.int64)
    found[:, 2:4, 2:4], found[:, 10:20, 10:20] = 1, 1
    method.teacher.forward = lambda images: torch.stack([1 - found, found], 1).float()
    assert method._pseudo_labels(batch.unlabelled).sum() == 200
    method.config = method.config.model_copy(update={"largest_component": False})
    assert method._pseudo_labels(batch.unlabelled).sum() == 208


def test_the_teacher_begins_where_the_pre_training_ends_and_has_a_fixed_decay():
    method = build()
    start = [p.clone() for p in method.student.parameters()]
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(1.0)
    method.after_step(Progress(98, 100, "pretrain"))
    assert all(torch.equal(p, q) for p, q in zip(method.teacher.network.parameters(), start, strict=True))
    method.after_step(Progress(99, 100, "pretrain"))
    pairs = [*zip(method.teacher.network.parameters(), method.student.parameters(), strict=True)]
    assert all(torch.equal(*pair) for pair in pairs)
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(1.0)
    method.after_step(Progress(0, 100, "train"))
    assert all(torch.allclose(mine, theirs - 0.99, atol=1e-5) for mine, theirs in pairs), "a hundredth of the way"


def test_the_phases():
    first, second = build(pretrain_iterations=30).phases()
    assert (first.name, first.iterations, first.unlabelled, second.name) == ("pretrain", 30, False, "train")
    assert (first.validated, second.validated) == (False, True), "a student of labelled pairs must not become the best"
    assert [phase.name for phase in build(pretrain_iterations=0).phases()] == ["train"]


@pytest.mark.parametrize(("labelled", "unlabelled"), [(1, 2), (2, 1)])
def test_one_patch_has_no_partner(labelled, unlabelled):
    method = build()
    name = "labelled" if labelled == 1 else "unlabelled"
    with pytest.raises(ConfigError, match=rf"set sampling\.{name} to 2 or more"):
        method(small_batch(method.task, labelled=labelled, unlabelled=unlabelled), TRAIN)
