"""Distances between the surfaces of two masks, exact and fast.

Most masks are compact, so their surfaces are few voxels: a k-d tree on these beats a distance transform of the whole
box by far. Noise and masks that fill the volume are the opposite. `nearest_distances` picks the cheaper way by counting
and not by a clock, and computes the distances from index differences in both: one input, one result, on any machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Costs in nanoseconds, fitted once on one machine; only their ratios matter, and only for speed.
TRANSFORM_PER_VOXEL = 60.0
QUERY = 500.0
QUERY_PER_SQUARED_CANDIDATES = 0.2
# Above this share of surface voxels, building the tree alone costs as much as the transform.
DENSE = 0.125
PROBES = 64


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
        nearest = _nearest_by_tree(points, target, spacing)
        if nearest is None:
            nearest = _nearest_by_transform(points, target, spacing)
        distances[apart] = _lengths(nearest - points, spacing)
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


def _nearest_by_transform(points: IntArray, target: BoolArray, spacing: tuple[float, ...]) -> IntArray:
    from scipy.ndimage import distance_transform_edt

    features = distance_transform_edt(~target, sampling=spacing, return_distances=False, return_indices=True)
    return np.asarray(features[(slice(None), *points.T)].T, dtype=np.int64)


def _nearest_by_tree(points: IntArray, target: BoolArray, spacing: tuple[float, ...]) -> IntArray | None:
    """The nearest target voxel of every point, or None where the transform would be faster."""
    from scipy.spatial import cKDTree

    flat = np.flatnonzero(target)
    if len(flat) > DENSE * target.size:
        return None
    candidates = _indices(flat, target.shape)
    # An unbalanced tree is built three times faster and, on surfaces, is searched as fast.
    tree = cKDTree(candidates * np.asarray(spacing), balanced_tree=False, compact_nodes=False)
    scaled = points * np.asarray(spacing)
    if len(points) > PROBES and len(points) * _query_cost(tree, scaled, spacing) > TRANSFORM_PER_VOXEL * target.size:
        return None
    found: IntArray = candidates[tree.query(scaled)[1]]
    return found


def _query_cost(tree: Any, points: FloatArray, spacing: tuple[float, ...]) -> float:
    """Mean cost of a search, judged by the candidates that lie at most two voxels beyond the nearest.

    Where many are nearly as near (a ball's centre seen from its shell), the tree has to open most of its nodes.
    """
    some = points[:: len(points) // PROBES]
    nearest = tree.query(some)[0]
    counts = tree.query_ball_point(some, nearest + 2 * max(spacing), return_length=True)
    return QUERY + QUERY_PER_SQUARED_CANDIDATES * float(np.mean(counts)) ** 2
