"""Signed distance maps against hand calculations and all pairs of voxels."""

from __future__ import annotations

import numpy as np
import pytest

from fewmask.data.distance import signed_distance, signed_distances
from helpers import blobs


def brute(mask):
    """By the definition: every voxel against every voxel."""
    places = np.argwhere(np.ones_like(mask)).astype(np.float64)
    inside, outside = np.argwhere(mask), np.argwhere(~mask)
    to = [np.linalg.norm(places[:, None] - other, axis=2).min(1).reshape(mask.shape) for other in (inside, outside)]
    border = mask.copy()
    for place in inside:
        steps = [place + sign * np.eye(mask.ndim, dtype=int)[axis] for axis in range(mask.ndim) for sign in (-1, 1)]
        steps = [tuple(step) for step in steps if all(0 <= v < n for v, n in zip(step, mask.shape, strict=True))]
        border[tuple(place)] = any(not mask[step] for step in steps)
    wanted = to[0] / to[0].max() - to[1] / to[1].max()
    return np.where(border, 0.0, wanted)


def test_a_square_by_hand():
    mask = np.zeros((7, 7), bool)
    mask[2:5, 2:5] = True
    found = signed_distance(mask)
    assert found[3, 3] == -1.0, "two steps from the background, the deepest there is"
    assert (found[2, 2:5] == 0).all() and found[4, 4] == 0, "the inner border"
    assert found[0, 0] == 1.0
    assert found[0, 3] == pytest.approx(2 / np.sqrt(8))
    assert found[1, 3] == pytest.approx(1 / np.sqrt(8))
    assert found.dtype == np.float32


@pytest.mark.parametrize("shape", [(9, 12), (7, 8, 6)])
def test_blobs_against_all_pairs(shape):
    _, label = blobs(shape, seed=3)
    assert (label > 0).any()
    np.testing.assert_allclose(signed_distance(label > 0), brute(label > 0), atol=1e-6)


def test_the_edge_of_a_patch_is_no_border():
    mask = np.zeros((6, 6), bool)
    mask[:, :3] = True
    assert (signed_distance(mask)[:, 0] == -1).all() and (signed_distance(mask)[:, 2] == 0).all()


def test_a_patch_of_one_kind():
    assert (signed_distance(np.zeros((4, 4), bool)) == 1).all()
    assert (signed_distance(np.ones((4, 4), bool)) == -1).all()


def test_a_map_for_each_class():
    _, label = blobs((16, 16), classes=4, seed=1)
    maps = signed_distances(label, 4)
    assert maps.shape == (3, 16, 16)
    for value in (1, 2, 3):
        np.testing.assert_array_equal(maps[value - 1], signed_distance(label == value))
