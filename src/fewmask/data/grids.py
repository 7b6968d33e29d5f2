"""Files of one case on different grids: what sets them apart, whether only the headers do, and what to do about it.

Most such pairs are one grid that two programs wrote down differently. Resampling would then move a label that is right, so it
is advised only where nothing but the grids themselves can explain the difference.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewmask.data.formats import nifti
from fewmask.data.geometry import Geometry

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice

_ROUNDING = 0.02  # spacings that differ by less than this share were rounded
_PARALLEL = 1 - 1e-4  # cosine of less than one degree
_SAME_VOXELS = "if its voxels are the other's one by one, take --geometry scan, which leaves them where they are (resampling would move them)"


@dataclass(frozen=True)
class Difference:
    """How a grid differs from its scan's.

    Attributes:
        words: what differs, and by how much.
        advice: what to do.
    """

    words: str
    advice: str


def agree(grid: Geometry, scan: Geometry, by: GeometryChoice) -> bool:
    """Whether an array is taken to lie on its scan's grid: by their geometries, or under ``scan`` by their shapes alone."""
    return grid.shape == scan.shape if by == "scan" else grid.matches(scan)


def apart(path: Path, grid: Geometry, other: Path, scan: Geometry, by: GeometryChoice = "header") -> str:
    """The sentence about a file that does not lie on another's grid, for errors; begins with "lies on another grid".

    Args:
        path: the file.
        grid: where it lies.
        other: the file that it belongs to.
        scan: where that lies.
        by: how both were read.
    """
    found = compare(grid, scan)
    words, advice = [found.words], found.advice
    for file in (path, other):
        if (between := codes_apart(file)) is not None:
            words.append(f"sform and qform of {file.name} are up to {between:.3g} mm apart")
    for file in (path, other):
        if _is_nifti(file) and not nifti.codes(file):
            words.append(f"{file.name} has neither an sform nor a qform")
            advice = _SAME_VOXELS if grid.shape == scan.shape else advice
    if (better := _agreeing(path, other, by)) is not None:
        words.append(f"by {'the qform' if better == 'qform' else 'the sform'} they are the same")
        advice = f"take --geometry {better}"
    return f"lies on another grid than {other.name} ({'; '.join(words)}); {advice}"


def codes_apart(path: Path) -> float | None:
    """How many mm a NIfTI file's sform and qform put a voxel apart at most; None where they agree, or there are not both."""
    if not _is_nifti(path) or not nifti.codes_differ(path):
        return None
    said = nifti.codes(path)
    if len(said) < 2 or said["qform"].matches(said["sform"]):
        return None
    return said["qform"].displacement(said["sform"])


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz")) and path.is_file()


def _agreeing(path: Path, other: Path, by: GeometryChoice) -> GeometryChoice | None:
    """The other way to read both headers, if they agree by it."""
    if not (_is_nifti(path) and _is_nifti(other)):
        return None
    way: GeometryChoice = "header" if by == "qform" else "qform"
    first: nifti.Code = "qform" if way == "qform" else "sform"
    here, there = (nifti.read_geometry(file, first=first) for file in (path, other))
    return way if here.matches(there) else None


def compare(grid: Geometry, scan: Geometry) -> Difference:
    """What sets a grid apart from its scan's, by the two affines alone."""
    if grid.shape != scan.shape:
        return Difference(grid.difference(scan), _about_shapes(grid, scan))
    furthest = f"voxels up to {grid.displacement(scan):.3g} mm apart"
    if _is_lost(grid) or _is_lost(scan):
        whose = "its header" if _is_lost(grid) else "the other's header"
        return Difference(f"{whose} says no place, only voxels of 1 mm at the origin; {furthest}", _SAME_VOXELS)
    words, alike = _spacing(grid, scan)
    turn = _direction(grid, scan)
    if _turned(grid, scan) is not None:
        advice = (
            "look at both (fewmask check --thumbnails): if it fits voxel by voxel, take --geometry scan; if it is stored "
            "in that other order, save it with its scan's axes"
        )
        return Difference(f"the same space, but {turn}; {furthest}", advice)
    shift = grid.affine[:3, 3] - scan.affine[:3, 3]
    if np.linalg.norm(shift) > 0.01 * min(scan.spacing):
        off = ", ".join(f"{length:.3g}" for length in shift)
        words.append(f"the origin is {np.linalg.norm(shift):.3g} mm off ({off})")
    everything = "; ".join([*([turn] if turn else []), *words, furthest])
    return Difference(everything, _SAME_VOXELS if alike else "resample it to that grid")


def _about_shapes(grid: Geometry, scan: Geometry) -> str:
    if _turned(grid, scan) is not None:
        return (
            "it covers the same space with its axes in another order: save it in its scan's; nothing is to be resampled"
        )
    if sorted(grid.shape) == sorted(scan.shape):
        return "if its axes are in another order, save it in its scan's; resample it only if it truly lies elsewhere"
    return "resample it to that grid"


def _is_lost(grid: Geometry) -> bool:
    """Whether the header holds what is written where nothing is known: unit spacing at the origin."""
    return np.array_equal(np.abs(grid.affine), np.eye(4)) and grid.affine[2, 2] > 0


def _spacing(grid: Geometry, scan: Geometry) -> tuple[list[str], bool]:
    """How the spacings differ, and whether that can be a matter of writing: rounding, a unit, or lengths that were lost."""
    here, there = np.array(grid.spacing), np.array(scan.spacing)
    share = here / there
    sizes = " against ".join(" x ".join(f"{length:.6g}" for length in lengths) for lengths in (here, there))
    if np.allclose(share, 1, rtol=0, atol=1e-6):
        return [], True
    if np.allclose(share, 1, rtol=0, atol=_ROUNDING):
        return [f"its spacing is rounded ({sizes} mm)"], True
    power = np.log10(share)
    if np.allclose(power, np.rint(power[0]), rtol=0, atol=1e-3):
        return [f"its spacing is in another unit ({sizes} mm)"], True
    if np.array_equal(here, np.ones(len(here))):
        return [f"its spacing was lost ({sizes} mm)"], True
    return [f"its spacing is another ({sizes} mm)"], False


def _direction(grid: Geometry, scan: Geometry) -> str:
    """How the axes point otherwise; empty where they do not."""
    dims = len(grid.shape)
    here, there = (one.affine[:3, :dims] / one.spacing for one in (grid, scan))
    cosines = here.T @ there
    same = np.diag(cosines)
    if (np.abs(same) > _PARALLEL).all():
        mirrored = [name for name, cosine in zip("xyz", same, strict=False) if cosine < 0]
        plural = "axes" if len(mirrored) > 1 else "axis"
        return f"{plural} {', '.join(mirrored)} the other way round" if mirrored else _turn(same)
    if (np.abs(cosines).max(axis=0) > _PARALLEL).all():
        return (
            f"its axes are in another order ({', '.join('xyz'[int(axis)] for axis in np.abs(cosines).argmax(axis=0))})"
        )
    return _turn(same)


def _turn(cosines: np.ndarray) -> str:
    degrees = float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())
    return f"it is turned by {degrees:.3g} degrees" if degrees > 0.01 else ""


def _turned(grid: Geometry, scan: Geometry) -> Geometry | None:
    """The grid with its axes moved and mirrored, if it is the scan's then; nothing is interpolated."""
    for order in itertools.permutations(range(len(grid.shape))):
        affine = grid.affine.copy()
        shape = tuple(grid.shape[axis] for axis in order)
        for place, axis in enumerate(order):
            column = grid.affine[:3, axis]
            mirrored = float(column @ scan.affine[:3, place]) < 0
            affine[:3, place] = -column if mirrored else column
            affine[:3, 3] += (grid.shape[axis] - 1) * column if mirrored else 0
        found = replace(grid, shape=shape, affine=affine)
        if found.matches(scan):
            return found
    return None
