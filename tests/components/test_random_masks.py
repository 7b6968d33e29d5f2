"""Shapes drawn at random, boxes that change places."""

from __future__ import annotations

import pytest
import torch

from fewmask.components.box_mix import exchange, random_box
from fewmask.components.random_masks import random_masks


@pytest.mark.parametrize("classes", [2, 5])
def test_shapes_of_every_class(classes):
    torch.manual_seed(0)
    masks = random_masks(40, (48, 32), classes)
    assert masks.shape == (40, 48, 32)
    shares = [float((masks == label).float().mean()) for label in range(classes)]
    assert all(share > 0.03 for share in shares[1:])
    assert 0.3 < shares[0] < 0.97
    sizes = (masks > 0).flatten(1).float().mean(1)
    assert sizes.max() > 3 * sizes.median() or sizes.min() < sizes.median() / 3, "small ones and large ones"


def test_they_come_from_torchs_generator():
    first, second, third = ((torch.manual_seed(seed), random_masks(2, (16, 16), 3))[1] for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_shapes_are_regions_and_not_dust():
    torch.manual_seed(1)
    masks = random_masks(20, (64, 64), 2)
    changes = (masks[:, 1:] != masks[:, :-1]).float().sum() / (masks[:, 1:] > 0).float().sum()
    assert changes < 0.25, "few of the foreground's pixels lie on an edge"


def test_a_box_has_its_size_and_moves():
    torch.manual_seed(0)
    boxes = [random_box((32, 20), 2 / 3) for _ in range(20)]
    assert {int(box.sum()) for box in boxes} == {21 * 13}
    assert len({tuple(map(tuple, box.nonzero()[:1].tolist())) for box in boxes}) > 5
    rows = boxes[0].any(1).nonzero().flatten()
    assert rows.tolist() == list(range(int(rows[0]), int(rows[0]) + 21))


def test_halves_change_places_in_the_box():
    inside = torch.tensor([[True, False]])
    first, second = torch.tensor([[[[1, 2]]]]), torch.tensor([[[[3, 4]]]])
    assert exchange(first, second, inside).tolist() == [[[[3, 2]]], [[[1, 4]]]]
