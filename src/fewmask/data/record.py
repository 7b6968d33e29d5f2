"""What preprocessing did to one scan: all that the way back needs, as JSON beside the prepared array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fewmask.data.crop import Box
from fewmask.data.geometry import Geometry, Unit
from fewmask.data.orientation import Axes
from fewmask.data.resample import Shape

Affine = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Record:
    """What was done to one scan; all that the way back needs.

    Attributes:
        original_shape: ``(*S)`` of the scan.
        original_affine: (4, 4), from the scan's index to RAS millimetres.
        axes: per axis of the scan, its place in the oriented array and 1, or -1 where it is mirrored.
        crop: (start, stop) per axis of the oriented array.
        shape: ``(*P)`` of the result; the box's own shape where nothing was resampled.
        affine: (4, 4), from the result's index to RAS millimetres.
        spacing: millimetres per axis of the result, as it really is: whole voxels seldom fill an extent exactly.
        unit: of lengths; pixels of a picture that says nothing of its size.
        picture: whether the scan is one; see `Geometry`.
    """

    original_shape: Shape
    original_affine: Affine
    axes: Axes
    crop: Box
    shape: Shape
    affine: Affine
    spacing: tuple[float, ...]
    unit: Unit = "mm"
    picture: bool = False

    @property
    def original(self) -> Geometry:
        """The scan's own grid."""
        return Geometry(self.original_shape, np.array(self.original_affine), self.unit, self.picture)

    @property
    def oriented_shape(self) -> Shape:
        """Voxels per axis after the orientation, before the crop."""
        shape = [0] * len(self.axes)
        for side, (place, _) in zip(self.original_shape, self.axes, strict=True):
            shape[place] = side
        return tuple(shape)

    @property
    def cropped_shape(self) -> Shape:
        """Voxels per axis after the crop, before resampling."""
        return tuple(stop - start for start, stop in self.crop)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """The inverse of `to_dict`, also after JSON has turned tuples into lists."""
        return cls(**{key: _nested_tuples(value) for key, value in values.items()})


def _nested_tuples(value: Any) -> Any:
    return tuple(_nested_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def affine_tuple(affine: np.ndarray) -> Affine:
    """The (4, 4) array as plain floats."""
    return tuple(tuple(float(value) for value in row) for row in affine)
