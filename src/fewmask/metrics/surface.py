"""Distances between the surfaces of two masks, exact and fast.

Two outlines of one organ lie mostly a few voxels apart: looking at a voxel's neighbours in the order of their distance finds the nearest
one after a few dozen. What is farther away is searched in a k-d tree of the other surface's voxels, which are few, and where even that
is slow (noise, masks that fill the volume) the distance transform of the whole box is taken. `nearest_distances` chooses by counting and
not by a clock, and computes distances from index differences whatever the way: one input, one result, on any machine.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Costs in nanoseconds, fitted once on one machine; only their ratios matter, and only for speed.
LOOK = 2.0  # at one neighbour of one voxel
BUILD = 100.0  # the tree, per voxel in it
QUERY = 500.0  # of the tree, and more where many voxels are nearly as near
QUERY_PER_SQUARED_CANDIDATES = 0.2
TRANSFORM_PER_VOXEL = 60.0
PROBES = 64
NEIGHBOURS = 512
BLOCK = 2**15  # voxels times neighbours looked at in one go, so that they stay in the cache


def surface(mask: BoolArray) -> BoolArray:
    """The voxels of a mask that its face-connected erosion removes; what lies outside the array is background.

    Args:
        mask: bool ``(*S)``, 2D or 3D.
    """
    inner = mask.copy()
    for axis in range(mask.ndim):
        moved, source = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        moved[1:] &= source[:-1]
        moved[:-1] &= source[1:]
        moved[0] = moved[-1] = False
    return mask & ~inner


def surface_distances(
    prediction: BoolArray, reference: BoolArray, spacing: tuple[float, ...]
) -> tuple[FloatArray, FloatArray]:
    """Distances from every surface voxel of one mask to the nearest surface voxel of the other, both ways.

    Args:
        prediction: bool ``(*S)``, not empty.
        reference: bool ``(*S)``, not empty.
        spacing: length of a voxel per axis; the unit of the result.

    Returns:
        prediction to reference and reference to prediction, each one value a surface voxel, in index order.
    """
    predicted, true = surface(prediction), surface(reference)
    return nearest_distances(predicted, true, spacing), nearest_distances(true, predicted, spacing)


def nearest_distances(source: BoolArray, target: BoolArray, spacing: tuple[float, ...]) -> FloatArray:
    """Distance from every voxel of ``source`` to the nearest of ``target``.

    Args:
        source: bool ``(*S)``.
        target: bool ``(*S)``, not empty.
        spacing: length of a voxel per axis.

    Returns:
        One value a source voxel, in index order.
    """
    flat = np.flatnonzero(source)
    apart = ~target.ravel()[flat]
    distances = np.zeros(len(flat))
    points = _indices(flat[apart], source.shape)
    if len(points):
        found = _by_neighbours(points, target, spacing)
        left = np.isinf(found)
        if left.any():
            found[left] = _lengths(_nearest(points[left], target, spacing) - points[left], spacing)
        distances[apart] = found
    return distances


def _indices(flat: IntArray, shape: tuple[int, ...]) -> IntArray:
    """Flat positions as indices ``(N, dims)``."""
    return np.stack(np.unravel_index(flat, shape), axis=1)


def _lengths(steps: IntArray, spacing: tuple[float, ...]) -> FloatArray:
    """Lengths of index differences ``(N, dims)``, summed axis by axis as scipy's distance transform does."""
    total = np.zeros(len(steps))
    for axis, length in enumerate(spacing):
        total += np.square(steps[:, axis] * length)
    return np.sqrt(total)


@lru_cache(maxsize=8)
def _neighbours(spacing: tuple[float, ...]) -> tuple[IntArray, FloatArray]:
    """The index differences to all voxels within some distance, about `NEIGHBOURS` of them, nearest first; their lengths."""
    dims = len(spacing)
    unit_ball = math.pi if dims == 2 else 4 * math.pi / 3
    radius = (NEIGHBOURS * math.prod(spacing) / unit_ball) ** (1 / dims)
    sides = [np.arange(-int(radius / length), int(radius / length) + 1) for length in spacing]
    steps = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, dims)
    lengths = _lengths(steps, spacing)
    order = np.argsort(lengths, kind="stable")[: np.count_nonzero(lengths <= radius)]
    return steps[order], lengths[order]


def _by_neighbours(points: IntArray, target: BoolArray, spacing: tuple[float, ...]) -> FloatArray:
    """Distances of the points that have a target voxel among as many neighbours as are worth a look; inf of the others."""
    steps, lengths = _neighbours(spacing)
    reach = np.abs(steps).max(axis=0)
    padded = np.zeros(np.add(target.shape, 2 * reach), dtype=bool)
    padded[tuple(slice(width, width + side) for width, side in zip(reach, target.shape, strict=True))] = target
    strides = np.array(padded.strides)  # a bool is one byte, so these count voxels
    places, jumps = (points + reach) @ strides, steps @ strides
    looks = _ranks(padded.ravel(), places[:: max(len(places) // PROBES, 1)], jumps)
    other_way = min(BUILD * np.count_nonzero(target), TRANSFORM_PER_VOXEL * target.size)

    def cost(most: int) -> float:
        missed = float((looks >= most).mean())
        return len(points) * (LOOK * float(np.minimum(looks, most).mean()) + QUERY * missed) + other_way * (missed > 0)

    # At equal cost rather more looks: the few voxels that the probes did not show would take the other way all alone.
    worth = min((len(jumps), 128, 32, 0), key=cost)
    ranks = _ranks(padded.ravel(), places, jumps[:worth])
    return np.append(lengths[:worth], np.inf)[ranks]


def _ranks(flat: BoolArray, places: IntArray, jumps: IntArray) -> IntArray:
    """For every place the first jump that leads to a True; as many as there are jumps where none does."""
    ranks = np.full(len(places), len(jumps))
    left, first = np.arange(len(places)), 0
    while len(left) and first < len(jumps):
        some = jumps[first : first + max(8, BLOCK // len(left))]
        hits = flat[some[:, None] + places[left]]
        hit = hits.any(axis=0)
        ranks[left[hit]] = first + hits[:, hit].argmax(axis=0)
        left, first = left[~hit], first + len(some)
    return ranks


def _nearest(points: IntArray, target: BoolArray, spacing: tuple[float, ...]) -> IntArray:
    """The target voxel that is nearest to every point."""
    nearest = _nearest_by_tree(points, target, spacing)
    return _nearest_by_transform(points, target, spacing) if nearest is None else nearest


def _nearest_by_transform(points: IntArray, target: BoolArray, spacing: tuple[float, ...]) -> IntArray:
    from scipy.ndimage import distance_transform_edt

    features = distance_transform_edt(~target, sampling=spacing, return_distances=False, return_indices=True)
    return np.asarray(features[(slice(None), *points.T)].T, dtype=np.int64)


def _nearest_by_tree(points: IntArray, target: BoolArray, spacing: tuple[float, ...]) -> IntArray | None:
    """The nearest target voxel of every point, or None where the transform would be faster."""
    from scipy.spatial import cKDTree

    transform = TRANSFORM_PER_VOXEL * target.size
    flat = np.flatnonzero(target)
    if BUILD * len(flat) + QUERY * len(points) > transform:
        return None
    candidates = _indices(flat, target.shape)
    # An unbalanced tree is built three times faster and, on surfaces, is searched as fast.
    tree = cKDTree(candidates * np.asarray(spacing), balanced_tree=False, compact_nodes=False)
    scaled = points * np.asarray(spacing)
    if len(points) > PROBES and len(points) * _query_cost(tree, scaled, spacing) > transform:
        return None
    found: IntArray = candidates[tree.query(scaled)[1]]
    return found


def _query_cost(tree: Any, points: FloatArray, spacing: tuple[float, ...]) -> float:
    """Mean cost of a search, judged by the candidates that lie at most two voxels beyond the nearest.

    Where many are nearly as near (a ball's centre seen from its shell), the tree has to open most of its nodes.
    """
    some = points[:: len(points) // PROBES]
    nearest = tree.query(some)[0]
    voxel = math.prod(spacing) ** (1 / len(spacing))  # the side of a cube of a voxel's volume
    counts = tree.query_ball_point(some, nearest + 2 * voxel, return_length=True)
    return QUERY + QUERY_PER_SQUARED_CANDIDATES * float(np.mean(counts)) ** 2
