"""Slices of scans as a reader expects them: upright, in true proportions, zoomed to what matters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.data.formats.bitmap import JPEG, TIFF
from fewmask.data.geometry import Geometry
from fewmask.data.image import suffix_of
from fewmask.data.orientation import Axes, axes_of, reorient
from fewmask.errors import DataError

Array = NDArray[Any]
ZOOM = 1.5  # side of the window over the longer side of what it shows
TIGHT = 1.08  # the same where the slice ends
SMALLEST = 0.3  # side of the window over the longer side of the slice, so that a small lesion keeps its surroundings


class View:
    """The slice of a scan to look at: axial, where the masks have the largest area; of a bitmap the whole.

    Args:
        geometry: of the scan.
        path: its file.
        masks: what to find the slice by, bool ``(*S)``.
    """

    def __init__(self, geometry: Geometry, path: Path, masks: Array) -> None:
        self.flat = suffix_of(path) in (".png", ".bmp", *TIFF, *JPEG) and len(geometry.shape) == 2
        self.axes = _axes(geometry, path)
        self.spacing = (1.0, geometry.spacing[0], geometry.spacing[1])
        self.unit = "pixels" if geometry.unit == "px" else "mm"
        self.position = 0
        if self.flat:
            return
        volume = self._turn(masks[None])[0]
        # A single slice lies across the axis along which it is thin; a volume is cut across the body.
        self.across = volume.shape.index(1) if 1 in volume.shape else 2
        others = tuple(axis for axis in range(3) if axis != self.across)
        self.position = int(np.argmax((volume != 0).sum(axis=others)))
        lengths = np.linalg.norm(geometry.affine[:3, :3], axis=0)
        by_place = {place: float(lengths[axis]) for axis, (place, _) in enumerate(self.axes)}
        self.spacing = (by_place[self.across], by_place[others[1]], by_place[others[0]])

    @property
    def pixel(self) -> tuple[float, float]:
        """Height and width of a pixel."""
        return self.spacing[1:]

    def cut(self, values: Array) -> Array:
        """The slice of ``(K, *S)`` as ``(K, rows, columns)``: the patient's right on the left, the front on top."""
        return self.lay(values)[:, self.position]

    def lay(self, values: Array) -> Array:
        """All slices of ``(K, *S)`` as ``(K, slices, rows, columns)``, without a copy."""
        if self.flat:
            return values[:, None]
        turned = np.moveaxis(self._turn(values), 1 + self.across, 1)
        return turned.transpose(0, 1, 3, 2)[:, :, ::-1, ::-1]

    def _turn(self, values: Array) -> Array:
        return reorient(values if values.ndim == 4 else values[..., None], self.axes)


@dataclass(frozen=True)
class Window:
    """A square part of a slice.

    Attributes:
        rows: first row and the one after the last that hold pixels of the window.
        columns: likewise.
        top: of the window, in pixels of the slice; may lie outside it.
        left: likewise.
        side: of the window, millimetres.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    top: float
    left: float
    side: float


def window(mask: Array, pixel: tuple[float, float]) -> Window:
    """The square around a mask, with room around it.

    Args:
        mask: bool ``(rows, columns)``; an empty one gives the whole slice.
        pixel: height and width of a pixel, millimetres.
    """
    extent = [count * length for count, length in zip(mask.shape, pixel, strict=True)]
    spans = [(0, count) for count in mask.shape]
    side = max(extent)
    if mask.any():
        found = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
        spans = [(int(indices[0]), int(indices[-1]) + 1) for indices in found]
        largest = max((stop - start) * length for (start, stop), length in zip(spans, pixel, strict=True))
        # No black bars, unless the mask itself needs the longer side of the slice.
        side = min(max(ZOOM * largest, SMALLEST * side), max(min(extent), TIGHT * largest))
    starts = [
        _start((first + last) / 2, side / length, count)
        for (first, last), length, count in zip(spans, pixel, mask.shape, strict=True)
    ]
    bounds = [
        (max(int(start), 0), min(int(np.ceil(start + side / length)), count))
        for start, length, count in zip(starts, pixel, mask.shape, strict=True)
    ]
    return Window(bounds[0], bounds[1], starts[0], starts[1], side)


def _start(middle: float, size: float, count: int) -> float:
    """Where a window of ``size`` begins: around ``middle``, but inside the slice as far as it fits."""
    if size >= count:
        return (count - size) / 2
    return min(max(middle - size / 2, 0.0), count - size)


def _axes(geometry: Geometry, path: Path) -> Axes:
    try:
        return axes_of(Geometry((*geometry.shape, 1)[:3], geometry.affine), "canonical", path)
    except DataError:  # an affine without directions: shown as stored
        return ((0, 1), (1, 1), (2, 1))
