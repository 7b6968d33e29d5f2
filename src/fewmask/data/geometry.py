"""Where the voxels of an array lie in the patient."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fewmask.errors import ConfigError

Unit = Literal["mm", "px"]


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in space.

    Attributes:
        shape: voxels per axis; three axes, or two for a bitmap or a single slice.
        affine: (4, 4) float64, from voxel index to RAS millimetres. Skewed and mirrored ones are kept as they are. The
            identity for pictures that know no millimetres; a single slice keeps the full affine of its file.
        unit: of lengths: millimetres, or pixels where the file says nothing of its size.
        picture: whether it is of a picture or TIFF stack, which has lengths at most but no place in the patient, and whose
            2D arrays are (rows, columns) where a slice of a scan is (x, y).
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    unit: Unit = "mm"
    picture: bool = False

    @classmethod
    def plain(cls, shape: tuple[int, ...]) -> Geometry:
        """The geometry of a file that knows none: unit spacing at the origin."""
        return cls(tuple(int(n) for n in shape), np.eye(4), "px", picture=True)

    @classmethod
    def spaced(cls, shape: tuple[int, ...], spacing: Sequence[float]) -> Geometry:
        """A grid at the origin whose axes point to the right, forward and up, with ``spacing`` millimetres per axis.

        Raises:
            ConfigError: there is not one positive length per axis.
        """
        if len(spacing) != len(shape) or not min(spacing) > 0:
            raise ConfigError(
                f"spacing {list(spacing)} does not fit {len(shape)} axes; give a positive length for each"
            )
        return cls(tuple(int(n) for n in shape), np.diag([*spacing, *[1.0] * (4 - len(spacing))]))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between neighbours, per axis of ``shape``; 1 where the unit is a pixel."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return tuple(float(length) for length in lengths[: len(self.shape)])

    def flat(self) -> Geometry:
        """A volume of one slice as that slice: of 2 axes, with the axis across it third in the affine; others as they are."""
        if len(self.shape) != 3 or 1 not in self.shape:
            return self
        across = max(axis for axis in range(3) if self.shape[axis] == 1)
        order = [*(axis for axis in range(3) if axis != across), across, 3]
        return replace(self, shape=tuple(self.shape[axis] for axis in order[:2]), affine=self.affine[:, order])

    def displacement(self, other: Geometry) -> float:
        """The furthest that a corner of this grid lies from the same corner in ``other``, in millimetres."""
        extents = (*self.shape, 1)[:3]
        corners = np.array([(*corner, 1) for corner in itertools.product(*((0, n - 1) for n in extents))], dtype=float)
        return float(np.linalg.norm((corners @ (self.affine - other.affine).T)[:, :3], axis=1).max())

    def matches(self, other: Geometry, tolerance: float = 0.1) -> bool:
        """Whether the shapes agree and no voxel lies further apart than ``tolerance`` of the smallest spacing.

        Where one of two pictures says nothing of its size, the shapes decide: programs that draw masks forget the spacing.
        Between a picture and a scan they do not, because the one's rows are the other's second axis.
        """
        if self.shape != other.shape:
            return False
        if self.picture and other.picture and self.unit != other.unit:
            return True
        return self.displacement(other) <= tolerance * min(self.spacing)

    def describe(self) -> str:
        """The grid in words, for errors: ``"183 x 140 x 88 voxels of 0.625 x 0.625 x 0.625 mm"``."""
        sizes = " x ".join(str(n) for n in self.shape)
        if self.unit == "px":
            return f"{sizes} {'pixels' if len(self.shape) == 2 else 'voxels'} of unknown size"
        return f"{sizes} voxels of {' x '.join(f'{length:.4g}' for length in self.spacing)} mm"

    def difference(self, other: Geometry) -> str:
        """What sets two grids apart that do not match, in words; `fewmask.data.grids` says more, and what to do."""
        here, there = self.describe(), other.describe()
        if here != there:
            return f"{here} against {there}"
        return f"the same voxels, but up to {self.displacement(other):.3g} mm apart"
