"""Methods with a signed distance map beside the segmentation, against their equations in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fewmask.components.dual_task import distances_of, mask_of
from fewmask.config import MethodSection, NetworkConfig
from fewmask.data.distance import signed_distances
from fewmask.methods import Progress, build_method
from toys import small_batch, small_network, small_task

END = Progress(99, 100)
CONSTANT = {"weight": 0.7, "shape": "constant"}


def build(name, dims=2, classes=2, network=None, **settings):
    torch.manual_seed(0)
    section = MethodSection(name=name, **settings)
    return build_method(small_task(dims, classes), section, small_network(**(network or {}))).train()


def outputs(method, images):
    """Foreground probabilities and distances in float64, by the definitions."""
    found = method.network.network.forward_all(images)
    z, s = (one.detach().numpy().astype(np.float64) for one in (found.logits[0], found.heads["distance"]))
    powers = np.exp(z)
    return powers / (1 + powers.sum(1, keepdims=True)), np.tanh(s)


def dice(p, labels):
    """The mean over foreground classes, squares in the denominator."""
    losses = []
    for c in range(p.shape[1]):
        y = (labels.numpy() == c + 1).astype(float)
        losses.append(1 - (2 * (p[:, c] * y).sum() + 1e-5) / ((p[:, c] ** 2).sum() + y.sum() + 1e-5))
    return np.mean(losses)


def targets(labels, classes):
    return np.stack([signed_distances(label, classes) for label in labels.numpy()]).astype(np.float64)


# --------------------------------------------------------------------------------------------------------------- dtc


@pytest.mark.parametrize("classes", [2, 4])
def test_dtc(classes):
    method = build("dtc", classes=classes, slope=20.0)
    batch = small_batch(method.task)
    p, s = outputs(method, batch.images)
    distance = ((s[:2] - targets(batch.labels, classes)) ** 2).mean()
    apart = ((1 / (1 + np.exp(20 * s)) - p) ** 2).mean()
    assert apart > 0.01
    weight = math.exp(-5 * (1 - 39 / 40) ** 2)
    step = method(batch, END)
    assert step.loss.item() == pytest.approx(dice(p[:2], batch.labels) + 0.3 * distance + weight * apart, rel=1e-5)
    assert step.logs["consistency_weight"] == pytest.approx(weight)


def test_two_classes_are_one_sigmoid():
    method = build("dtc")
    image = small_batch(method.task).images
    p, _ = outputs(method, image)
    found = method.predictor().eval()(image).detach().numpy()
    np.testing.assert_allclose(found[:, 1:], p, atol=1e-6)
    assert method.network.network.num_classes == 1


def test_both_tasks_learn_by_the_consistency():
    method = build("dtc", dice_weight=0, distance_weight=0, slope=5.0)
    method(small_batch(method.task), END).loss.backward()
    network = method.network.network
    assert network.decoders[0].outputs[0].weight.grad.any() and network.heads["distance"].weight.grad.any()


def test_what_dtc_asks_of_an_empty_patch():
    """The release asks for distance 0, which means half a mask; meant is a mask of nothing."""
    losses = {}
    for released in (False, True):
        method = build("dtc", as_released=released, dice_weight=0, consistency={"weight": 0.0})
        batch = small_batch(method.task)
        batch.labels[1] = 0
        wanted = targets(batch.labels, 2)
        assert (wanted[1] == 1).all()
        wanted[1] = 0.0 if released else 1.0
        _, s = outputs(method, batch.labelled)
        losses[released] = method(batch, END).loss.item()
        assert losses[released] == pytest.approx(0.3 * ((s - wanted) ** 2).mean(), rel=1e-5)
        assert mask_of(torch.from_numpy(wanted[1])).max() == (0.5 if released else 0.0)
    assert losses[False] > 2 * losses[True]


def test_the_maps_of_the_loader_are_taken():
    batch = small_batch(small_task(classes=3))
    batch.distances = torch.full((2, 2, 32, 32), 0.25)
    assert (distances_of(batch, 3) == 0.25).all()
    batch.labels[batch.labels == 2] = 0
    assert (distances_of(batch, 3, absent=0.0)[:, 1] == 0).all() and (distances_of(batch, 3)[:, 1] == 1).all()


@pytest.mark.parametrize(("distance", "mask"), [(0.0, 0.5), (0.001, 0.182426), (-0.001, 0.817574), (0.1, 0.0), (-1, 1)])
def test_the_mask_of_a_distance(distance, mask):
    assert mask_of(torch.tensor(distance)).item() == pytest.approx(mask, abs=1e-6)


def test_the_published_size_of_dtc():
    method = build_method(small_task(3), MethodSection(name="dtc"), NetworkConfig())
    assert sum(p.numel() for p in method.parameters()) == 9_448_866


# ----------------------------------------------------------------------------------------------------------- sassnet

GENERATOR, JUDGE = (END._replace(turn=name) for name in ("generator", "discriminator"))


def sassnet(classes=2, **settings):
    return build("sassnet", classes=classes, discriminator_width=4, **settings)


def cross_entropy(logits, labels):
    z = logits.detach().numpy().astype(np.float64)
    return np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(z, labels, strict=True)])


def verdict(method, maps, images):
    """What the discriminator says without dropout."""
    method.discriminator.eval()
    logits = method.discriminator(torch.from_numpy(maps).float(), images)
    method.discriminator.train()
    return logits


@pytest.mark.parametrize("classes", [2, 4])
def test_the_generator_of_sassnet(classes):
    method = sassnet(classes, adversarial={"weight": 0.5})
    batch = small_batch(method.task)
    p, s = outputs(method, batch.images)
    distance = ((s[:2] - targets(batch.labels, classes)) ** 2).mean()
    fooled = cross_entropy(verdict(method, s[2:], batch.unlabelled), [1, 1])
    weight = 0.5 * math.exp(-5 * (1 - 39 / 40) ** 2)
    step = method(batch, GENERATOR)
    wanted = dice(p[:2], batch.labels) + 0.3 * distance + weight * fooled
    assert step.loss.item() == pytest.approx(wanted, rel=1e-5)
    assert step.logs["adversarial"].item() == pytest.approx(fooled, rel=1e-5)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_the_discriminator_of_sassnet(norm):
    """It judges maps of a network in eval mode: by running statistics, which stay as they are, and without dropout."""
    method = sassnet(network={"norm": norm, "dropout": 0.5})
    method.discriminator.dropout.p = 0.0
    batch = small_batch(method.task)
    before = {name: value.clone() for name, value in method.network.named_buffers()}
    method.network.eval()
    _, s = outputs(method, batch.images)
    method.network.train()
    wanted = cross_entropy(verdict(method, s, batch.images), [1, 1, 0, 0])
    step = method(batch, JUDGE)
    assert step.loss.item() == pytest.approx(wanted, rel=1e-5)
    step.loss.backward()
    assert all(p.grad is None for p in method.network.parameters()), "the network holds still"
    assert method.network.training and method.discriminator.training
    assert all(torch.equal(value, before[name]) for name, value in method.network.named_buffers())
    assert bool(before) == (norm == "batch")


def test_who_judges_in_which_mode():
    """Dropout of the discriminator is off while the network learns and on while it learns itself."""
    method = sassnet()
    batch = small_batch(method.task)
    losses = {turn: {method(batch, turn).loss.item() for _ in range(4)} for turn in (GENERATOR, JUDGE)}
    assert len(losses[GENERATOR]) == 1 and len(losses[JUDGE]) > 1


def test_the_turns_of_sassnet():
    method = sassnet(discriminator_lr=2e-4)
    first, second = method.turns("train")
    assert set(first.parameters) == set(method.network.parameters())
    assert set(second.parameters) == set(method.discriminator.parameters())
    assert {"optimiser": "adam", "lr": 2e-4, "momentum": 0.9, "beta2": 0.99}.items() <= dict(second.optimiser).items()
    alone = sassnet(adversarial={"weight": 0.0})
    assert [turn.name for turn in alone.turns("train")] == ["generator"] and alone.discriminator is None


def test_what_sassnet_asks_of_an_empty_patch():
    losses = []
    for released in (False, True):
        method = sassnet(as_released=released, dice_weight=0, adversarial={"weight": 0.0})
        batch = small_batch(method.task)
        batch.labels[:] = 0
        _, s = outputs(method, batch.labelled)
        losses.append(method(batch, GENERATOR).loss.item())
        assert losses[-1] == pytest.approx(0.3 * ((s - (0 if released else 1)) ** 2).mean(), rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=0.1)


def test_the_published_size_of_sassnet():
    method = build_method(small_task(3), MethodSection(name="sassnet"), NetworkConfig())
    assert sum(p.numel() for p in method.parameters()) == 20_469_156
