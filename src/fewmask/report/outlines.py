"""Borders of masks as lines, how far they lie from the reference's border, and both as paths of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray

Array = NDArray[Any]
Lines = list[Array]
DETAIL = 2400  # of a picture's side, what is smaller is left out of a path


def trace(plane: Array, value: int) -> Lines:
    """The borders of a class in a slice.

    Args:
        plane: labels ``(rows, columns)``.
        value: of the class.

    Returns:
        Closed lines, float ``(n, 2)`` each: row and column. They run midway between the voxels inside and outside.
    """
    mask = plane == value
    if not mask.any():
        return []
    rows, columns = (np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1))
    # A frame of background closes the lines at the edge of the slice.
    part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(float), 1)
    found = contour_generator(z=part).lines(0.5)
    return [np.asarray(line)[:, ::-1] + (rows[0] - 1, columns[0] - 1) for line in found]


def border_distances(lines: Sequence[Array], volume: Array, position: int, spacing: Sequence[float]) -> Lines:
    """How far each point of lines in a slice lies from the border of a mask, the border in all directions.

    Args:
        lines: of `trace`, in slice ``position``.
        volume: the mask, bool ``(slices, rows, columns)``, not empty; an image is one slice.
        position: the slice.
        spacing: of the three axes.

    Returns:
        Per line ``(n,)``: positive outside the mask, negative inside, exactly 0 on its border.
    """
    from scipy.ndimage import map_coordinates
    from scipy.spatial import KDTree

    tree = KDTree(_faces(volume) * spacing)
    plane = volume[position].astype(float)
    found = []
    for line in lines:
        points = np.column_stack([np.full(len(line), float(position)), line])
        distances, _ = tree.query(points * spacing)
        inside = map_coordinates(plane, line.T, order=1, mode="constant")
        found.append(distances * np.sign(0.5 - inside))
    return found


def _faces(volume: Array) -> Array:
    """The middles ``(n, 3)`` of all faces between a voxel of the mask and one outside, in voxels; a single slice has no thickness."""
    padded = np.pad(volume, 1)
    faces = []
    for axis in range(1 if len(volume) == 1 else 0, 3):
        places = np.argwhere(np.diff(padded, axis=axis)).astype(float) - 1
        places[:, axis] += 0.5
        faces.append(places)
    return np.concatenate(faces)


def path(lines: Sequence[Array], side: float, *, closed: bool = True) -> str:
    """Lines ``(n, 2)`` of x and y as the path of an SVG of that side, as coarse as nobody sees."""
    from matplotlib.path import Path

    digits = max(0, int(np.ceil(np.log10(DETAIL / side))))
    commands = []
    for line in lines:
        fine = Path(line * (DETAIL / side))
        fine.simplify_threshold = 1.0
        points = np.asarray(fine.cleaned(simplify=True, curves=False).vertices)[:-1] * (side / DETAIL)
        commands.append("M" + "L".join(f"{x:.{digits}f} {y:.{digits}f}" for x, y in points) + ("Z" if closed else ""))
    return "".join(commands)


def by_bin(lines: Sequence[Array], bins: Sequence[Array]) -> dict[int, Lines]:
    """Pieces of lines whose points share a bin, each as far as the first point of the next piece."""
    pieces: dict[int, Lines] = {}
    for line, numbers in zip(lines, bins, strict=True):
        cuts = np.flatnonzero(np.diff(numbers)) + 1
        for start, stop in zip([0, *cuts], [*cuts, len(line)], strict=True):
            piece = line[start : stop + 1]
            if len(piece) > 1:
                pieces.setdefault(int(numbers[start]), []).append(piece)
    return pieces
