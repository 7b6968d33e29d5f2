from __future__ import annotations

import pytest
import torch

from fewmask.components.losses import one_hot
from fewmask.components.matching import best_order, class_overlap


def test_overlap_is_the_mean_probability_on_each_class():
    labels = torch.tensor([[[0, 0, 0, 2]]])
    p = torch.zeros(1, 3, 1, 4)
    p[0, 1, 0, :3], p[0, 0, 0, :3] = torch.tensor([0.9, 0.6, 0.3]), torch.tensor([0.1, 0.4, 0.7])
    p[0, 2, 0, 3] = 1
    overlap = class_overlap(p, labels)
    assert overlap.tolist() == [pytest.approx([0.4, 0.6, 0.0], abs=1e-6), [0, 0, 0], pytest.approx([0, 0, 1])]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 1, 3], [3, 2, 1, 0]])
def test_a_shuffled_prediction_is_put_right(order):
    labels = torch.randint(4, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    truth = one_hot(labels, 4)
    shuffled = torch.empty_like(truth)
    shuffled[:, order] = truth  # channel order[c] shows class c
    found = best_order(class_overlap(0.7 * shuffled + 0.075, labels))
    assert found.tolist() == order
    assert torch.equal(shuffled[:, found], truth)


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    """Two channels that are both mostly on: by voxels alone, the one that covers more background would be background."""
    labels = torch.zeros(1, 10, 10, dtype=torch.int64)
    labels[0, 0, :3] = 1
    foreground = torch.full((10, 10), 0.55)
    foreground[0, :3] = 0.99
    p = torch.stack([1 - foreground, foreground])[None]  # right as it is, though channel 1 wins everywhere
    by_voxel = [(p[0] * one_hot(labels, 2)[0, list(order)]).sum() for order in ((0, 1), (1, 0))]
    assert by_voxel[1] > by_voxel[0], "by voxels alone the order would be turned"
    assert best_order(class_overlap(p, labels)).tolist() == [0, 1]


def test_a_tie_changes_nothing():
    assert best_order(torch.full((3, 3), 0.5)).tolist() == [0, 1, 2]
