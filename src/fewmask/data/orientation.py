"""The axes of a 3D scan in the order right, anterior, superior: moved and mirrored, never interpolated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewmask.data.geometry import Geometry
from fewmask.errors import DataError

Axes = tuple[tuple[int, int], ...]


def reorient(values: np.ndarray, axes: Axes) -> np.ndarray:
    """``(K, *S)`` with its axes mirrored and then moved to their places."""
    mirrored = tuple(1 + axis for axis, (_, sign) in enumerate(axes) if sign < 0)
    order = np.argsort([place for place, _ in axes])
    return np.asarray(np.flip(values, mirrored).transpose(0, *(1 + order)))


def axes_of(geometry: Geometry, orientation: str, path: Path) -> Axes:
    """Where each axis goes; 2D images stay as they are, for a bitmap has no patient axes.

    Args:
        geometry: of the scan.
        orientation: ``canonical``: the nearest right-anterior-superior order; ``keep``: as stored.
        path: the scan's file, for the error.

    Returns:
        Per axis of the scan: its place in the oriented array, and 1, or -1 where it is mirrored.

    Raises:
        DataError: the affine is singular, so that an axis has no direction.
    """
    if orientation == "keep" or len(geometry.shape) != 3:
        return tuple((axis, 1) for axis in range(len(geometry.shape)))
    from nibabel.orientations import io_orientation

    found = io_orientation(geometry.affine)
    if not np.isfinite(found).all():
        raise DataError(f"{path}: has an affine without a volume, so its axes have no direction; mend its header")
    return tuple((int(place), int(sign)) for place, sign in found)


def oriented_affine(geometry: Geometry, axes: Axes) -> np.ndarray:
    """The (4, 4) affine of the array that `reorient` makes."""
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for axis, (place, sign) in enumerate(axes):
        change[axis, place] = sign
        change[axis, 3] = geometry.shape[axis] - 1 if sign < 0 else 0
    for axis in range(len(axes), 3):
        change[axis, axis] = 1
    return np.asarray(geometry.affine @ change)
