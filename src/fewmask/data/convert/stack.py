"""Slices of one series: in which order they lie in the patient, what is missing or odd among them, and the scan that they make."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from fewmask.data.convert.pixels import read_plane
from fewmask.data.convert.slices import Slice
from fewmask.data.formats.itk import LPS_TO_RAS
from fewmask.data.geometry import Geometry
from fewmask.errors import DataError

_UNEVEN = 0.05  # of the distance between slices: what rounding and a moving table explain
_TILT = 0.05  # millimetres that a slice may lie beside the line through the first and the last


def stacked(slices: list[Slice]) -> list[Slice]:
    """The slices in the order in which they lie in the patient, whatever their names and numbers say.

    Raises:
        DataError: they do not make one even stack: slices are missing or there twice, or other images are among them.
    """
    first = slices[0]
    for other in slices[1:]:
        same = (
            other.size == first.size
            and np.abs(other.axes - first.axes).max() < 1e-3
            and all(abs(one - two) < 1e-3 * two for one, two in zip(other.spacing, first.spacing, strict=True))
        )
        if not same:
            raise DataError(
                f"{other.path}: is of another size, spacing or direction than {first.path.name} of the same series; sort "
                "localisers and other series into folders of their own"
            )
    ordered = sorted(slices, key=lambda each: (each.height, each.number))
    _refuse_gaps(ordered)
    return ordered


def _refuse_gaps(ordered: list[Slice]) -> None:
    steps = np.diff([each.height for each in ordered])
    if not len(steps):
        return
    usual = float(np.median(steps))
    where = ordered[0].path.parent
    twice = [(low, high) for (low, high), step in zip(pairwise(ordered), steps, strict=True) if step < 1e-3]
    if twice:
        low, high = twice[0]
        raise DataError(
            f"{where}: has {len(twice) + 1} slices or more at one place, {low.path.name} and {high.path.name} among them: copies, or "
            "several time points; keep one of each"
        )
    gaps = [(low, high, step) for (low, high), step in zip(pairwise(ordered), steps, strict=True) if step > 1.5 * usual]
    if gaps:
        low, high, step = gaps[0]
        missing = sum(round(gap / usual) - 1 for *_, gap in gaps)
        raise DataError(
            f"{where}: lacks about {missing} of its slices: {low.path.name} and {high.path.name} are {step:.4g} mm apart where "
            f"others are {usual:.4g} mm; copy the series again"
        )
    worst = int(np.argmax(np.abs(steps - usual)))
    line = np.linspace(ordered[0].position, ordered[-1].position, len(ordered))
    beside = float(np.abs(np.array([each.position for each in ordered]) - line).max())
    if abs(steps[worst] - usual) > _UNEVEN * usual or beside > max(_TILT, _UNEVEN * usual):
        raise DataError(
            f"{where}: has uneven slices ({steps.min():.4g} to {steps.max():.4g} mm apart, {ordered[worst].path.name} for one); no "
            "grid fits them, so export the series again or leave it out"
        )


def misnumbered(ordered: list[Slice]) -> bool:
    """Whether a series is stacked in another order than its names would have it, or its instance numbers."""
    numbers = [each.number for each in ordered]
    names = [each.path.name for each in ordered]
    return not all(_monotone(values) for values in (numbers, names))


def _monotone(values: list[Any]) -> bool:
    return values in (sorted(values), sorted(values, reverse=True))


def geometry_of(ordered: list[Slice]) -> Geometry:
    """The grid of a stack; a tilted gantry makes it skewed, as it is."""
    first, last = ordered[0], ordered[-1]
    step = (last.position - first.position) / (len(ordered) - 1) if len(ordered) > 1 else first.normal * first.thickness
    affine = np.eye(4)
    affine[:3, 0] = first.axes[0] * first.spacing[0]
    affine[:3, 1] = first.axes[1] * first.spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    shape = (*first.size, len(ordered)) if len(ordered) > 1 else first.size
    return Geometry(shape, LPS_TO_RAS @ affine)


def read_stack(ordered: list[Slice]) -> tuple[np.ndarray, Geometry]:
    """Voxels ``(columns, rows, slices)`` with each slice's slope and intercept applied, and their grid.

    Whole numbers are int16 where they fit, else int32; others float32.

    Raises:
        DataError: a slice cannot be read.
    """
    planes = [read_plane(each) for each in ordered]
    kind = np.result_type(*planes)
    geometry = geometry_of(ordered)
    return np.stack(planes, axis=-1, dtype=kind).reshape(geometry.shape), geometry
