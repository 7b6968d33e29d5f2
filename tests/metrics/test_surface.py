from __future__ import annotations

import numpy as np
import pytest

from fewmask.metrics import surface as module
from fewmask.metrics.surface import nearest_distances, surface


def brute_surface(mask):
    """A mask voxel is on the surface if a face neighbour, or the outside, is not in the mask."""
    padded = np.pad(mask, 1)
    found = np.zeros_like(mask)
    for index in np.argwhere(mask):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                neighbour = index + 1
                neighbour[axis] += step
                found[tuple(index)] |= not padded[tuple(neighbour)]
    return found


def brute_distances(source, target, spacing):
    a, b = np.argwhere(source) * np.array(spacing), np.argwhere(target) * np.array(spacing)
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)).min(1)


def ball(shape, centre, radius):
    grid = np.indices(shape)
    return sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) <= radius**2


def pairs():
    rng = np.random.default_rng(0)
    for shape in ((24, 31), (13, 11, 9)):
        middle = tuple(n // 2 for n in shape)
        full, blob = np.ones(shape, bool), ball(shape, middle, 4)
        yield f"blobs-{len(shape)}d", blob, ball(shape, tuple(n // 3 for n in shape), 3)
        yield f"nested-{len(shape)}d", blob, ball(shape, middle, 1)
        yield f"full-{len(shape)}d", full, blob
        yield f"sparse-noise-{len(shape)}d", rng.random(shape) < 0.02, rng.random(shape) < 0.02
        yield f"dense-noise-{len(shape)}d", rng.random(shape) < 0.5, rng.random(shape) < 0.5


PAIRS = {name: (first, second) for name, first, second in pairs()}
SPACINGS = {2: [(1.0, 1.0), (0.625, 3.1)], 3: [(1.0, 1.0, 1.0), (0.7, 0.9, 5.0)]}
CASES = [(name, spacing) for name, (first, _) in PAIRS.items() for spacing in SPACINGS[first.ndim]]


@pytest.mark.parametrize("name", PAIRS)
def test_surface_is_what_has_an_outer_face_neighbour(name):
    for mask in PAIRS[name]:
        assert np.array_equal(surface(mask), brute_surface(mask))


def test_surface_of_a_whole_image_is_its_rim():
    expected = np.ones((5, 6), bool)
    expected[1:-1, 1:-1] = False
    assert np.array_equal(surface(np.ones((5, 6), bool)), expected)


def test_surface_leaves_its_argument_alone():
    mask = np.ones((5, 6), bool)
    surface(mask)
    assert mask.all()


# What makes each way the cheapest, whatever the masks.
DEAR = 1e12
WAYS = {
    "chosen": {},
    "neighbours": {"QUERY": DEAR},
    "tree": {"LOOK": DEAR, "TRANSFORM_PER_VOXEL": DEAR},
    "transform": {"LOOK": DEAR, "BUILD": DEAR},
}


def watch(monkeypatch):
    """The names of the ways, in the order in which they are taken from here on."""
    taken = []
    for name in ("_nearest_by_tree", "_nearest_by_transform"):
        original = getattr(module, name)

        def watched(*arguments, name=name, original=original):
            found = original(*arguments)
            if found is not None:
                taken.append(name.removeprefix("_nearest_by_"))
            return found

        monkeypatch.setattr(module, name, watched)
    return taken


@pytest.mark.parametrize(("name", "spacing"), CASES)
@pytest.mark.parametrize("way", WAYS)
def test_all_ways_give_the_nearest_distances(monkeypatch, name, spacing, way):
    for constant, cost in WAYS[way].items():
        monkeypatch.setattr(module, constant, cost)
    taken = watch(monkeypatch)
    first, second = (surface(mask) for mask in PAIRS[name])
    for source, target in ((first, second), (second, first)):
        expected = brute_distances(source, target, spacing)
        np.testing.assert_allclose(nearest_distances(source, target, spacing), expected, rtol=0, atol=1e-12)
    if way in ("tree", "transform"):
        assert set(taken) == {way}


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 4.0), (1.0, 1.0, 1.0), (0.7, 0.9, 5.0)])
def test_neighbours_are_all_voxels_within_a_distance_nearest_first(spacing):
    steps, lengths = module._neighbours(spacing)
    assert 0.8 * module.NEIGHBOURS < len(steps) < 1.2 * module.NEIGHBOURS
    assert (np.diff(lengths) >= 0).all() and lengths[0] == 0
    np.testing.assert_allclose(lengths, np.linalg.norm(steps * spacing, axis=1), rtol=1e-15)
    sides = [np.arange(-40, 41)] * len(spacing)
    every = np.linalg.norm(np.stack(np.meshgrid(*sides, indexing="ij"), -1) * spacing, axis=-1)
    assert np.count_nonzero(every <= lengths[-1]) == len(steps)


def test_each_way_is_taken_where_it_is_cheaper(monkeypatch):
    taken = watch(monkeypatch)
    shape, voxel = (40, 40, 40), (1.0, 1.0, 1.0)
    compact = surface(ball(shape, (20, 20, 20), 8))
    noise = np.random.default_rng(0).random((2, *shape)) < 0.5
    nearest_distances(compact, surface(ball(shape, (21, 20, 20), 8)), voxel)
    nearest_distances(noise[0], noise[1], voxel)
    assert taken == [], "neighbours find all"
    far = surface(ball(shape, (8, 8, 8), 5)), surface(ball(shape, (32, 32, 32), 5))
    nearest_distances(*far, voxel)
    assert taken == ["tree"]
    # From the rim of a whole volume to a ball inside, the tree would have to look at most of the ball for every voxel.
    nearest_distances(surface(np.ones(shape, bool)), compact, voxel)
    assert taken == ["tree", "transform"]


def test_voxels_of_both_are_at_distance_zero_in_index_order():
    source, target = np.array([[1, 1, 0, 1]], bool), np.array([[0, 1, 0, 0]], bool)
    assert nearest_distances(source, target, (1.0, 2.0)).tolist() == [2.0, 0.0, 4.0]
