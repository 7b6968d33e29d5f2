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


def build(name, dims=2, classes=2, **settings):
    torch.manual_seed(0)
    section = MethodSection(name=name, **settings)
    return build_method(small_task(dims, classes), section, small_network()).train()


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
