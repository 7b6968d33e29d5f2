"""Labels that lie on their scan's grid, but with axes in another order or direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewmask.data.geometry import Geometry
from fewmask.data.orientation import axes_of, oriented_affine, reorient
from fewmask.errors import DataError


def onto_grid(path: Path, label: np.ndarray, grid: Geometry, scan: Geometry) -> np.ndarray:
    """The label with its axes turned as the scan's; nothing is interpolated.

    Args:
        path: of the label, for the error.
        label: ``(*S)``.
        grid: the label's.
        scan: the scan's.

    Raises:
        DataError: turned, it still lies elsewhere.
    """
    if grid.matches(scan):
        return label
    if len(grid.shape) == len(scan.shape) == 3:
        turned, there = canonical(path, label, grid)
        axes = axes_of(scan, "canonical", path)
        wanted = Geometry(
            tuple(np.array(scan.shape)[np.argsort([place for place, _ in axes])].tolist()), oriented_affine(scan, axes)
        )
        if there.matches(wanted):
            return _back(turned, axes)
    raise DataError(
        f"{path}: lies on another grid than its scan ({grid.difference(scan)}); find the label of this scan"
    )


def canonical(path: Path, values: np.ndarray, grid: Geometry) -> tuple[np.ndarray, Geometry]:
    """Values ``(*S)`` with the axes nearest to right, anterior, superior, and their grid."""
    axes = axes_of(grid, "canonical", path)
    turned = reorient(values[None], axes)[0]
    return turned, Geometry(turned.shape, oriented_affine(grid, axes))


def _back(turned: np.ndarray, axes: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Undo `fewmask.data.orientation.reorient`."""
    moved = turned.transpose([place for place, _ in axes])
    return np.flip(moved, tuple(axis for axis, (_, sign) in enumerate(axes) if sign < 0))
