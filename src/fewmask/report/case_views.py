"""What pictures of a case show: the scan, and the borders of reference and predictions with their distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.data.dataset import Dataset
from fewmask.data.image import SUFFIXES, Image, read_label
from fewmask.errors import DataError
from fewmask.report.data import Run
from fewmask.report.outlines import Lines, border_distances, trace
from fewmask.report.slices import View, Window, window

Array = NDArray[Any]


@dataclass(frozen=True)
class Traced:
    """A run's prediction of a case.

    Attributes:
        run: whose.
        lines: its borders, x and y in the unit of the picture; None where there is no prediction.
        distances: per point of each line from the reference's border, negative inside; NaN where the reference lacks the class.
        dice: mean over the classes; None where there is none.
    """

    run: Run
    lines: Lines | None
    distances: Lines
    dice: float | None


@dataclass(frozen=True)
class CaseView:
    """A case, cut out to look at.

    Attributes:
        rank: its place among the cases, in a word.
        case: its id.
        side: of the picture, in its unit.
        unit: ``mm``; ``pixels`` of a picture that says nothing of its size.
        scan: its pixels, uint8 ``(rows, columns)`` or ``(rows, columns, 3)``.
        box: left, top, width and height of the pixels in the picture.
        reference: its borders.
        traced: the runs'.
    """

    rank: str
    case: str
    side: float
    unit: str
    scan: Array
    box: tuple[float, float, float, float]
    reference: Lines
    traced: tuple[Traced, ...]


def look_at_cases(runs: Sequence[Run]) -> tuple[list[CaseView], list[str]]:
    """The worst, the median and the best case by mean Dice over the runs, so that none is favoured.

    Args:
        runs: in any number; those without scores are left out.

    Returns:
        The cases; and a sentence for everything that could not be shown.
    """
    scored = [run for run in runs if run.scores]
    chosen = choose_cases(scored)
    if not chosen:
        return [], []
    root = scored[0].dataset["root"]
    try:
        dataset = Dataset.open(root, strict=False)
    except (DataError, OSError):
        return [], [f"No pictures: the scans are no longer at {root}, where {scored[0].name} was trained on them."]
    views, problems = [], []
    for rank, case in chosen:
        try:
            views.append(_look(dataset, rank, case, scored))
        except (DataError, OSError) as error:
            problems.append(f"No picture of {case}: {error}.")
    return views, problems


@dataclass(frozen=True)
class PredictedView:
    """A scan without a reference, cut out to look at.

    Attributes:
        side: of the picture, in its unit.
        scan: its pixels, uint8 ``(rows, columns)`` or ``(rows, columns, 3)``.
        box: left, top, width and height of the pixels in the picture.
        borders: of each prediction.
    """

    side: float
    scan: Array
    box: tuple[float, float, float, float]
    borders: tuple[Lines, ...]


def look_at_predictions(image: Image, predictions: Sequence[Array]) -> PredictedView:
    """The slice in which predictions have the largest area together; where all are empty, the middle one.

    Args:
        image: the scan.
        predictions: label maps ``(*S)``.
    """
    found = np.any([labels > 0 for labels in predictions], axis=0)
    if not found.any():
        found[tuple(side // 2 for side in found.shape)] = True
    view = View(image.geometry, image.path, found)
    planes = [view.cut(labels[None])[0] for labels in predictions]
    part = window(np.any([plane > 0 for plane in planes], axis=0), view.pixel)
    borders = tuple(
        _place([line for value in np.unique(plane[plane > 0]) for line in trace(plane, int(value))], part, view.pixel)
        for plane in planes
    )
    piece = view.cut(image.data)[:, slice(*part.rows), slice(*part.columns)]
    return PredictedView(part.side, to_pixels(piece), _box(part, view.pixel, piece.shape), borders)


def choose_cases(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Rank and id of at most three cases that all runs have scored."""
    shared = [set(run.scores.cases) for run in runs if run.scores]
    values = {}
    for case in sorted(set.intersection(*shared)) if shared else ():
        dice = [run.scores.case_mean(case) for run in runs if run.scores]
        known = [value for value in dice if value is not None]
        if known:
            values[case] = fmean(known)
    order = sorted(values, key=values.__getitem__)
    places = {0: "Worst", len(order) - 1: "Best"}
    if len(order) > 2:
        places = {0: "Worst", (len(order) - 1) // 2: "Median", len(order) - 1: "Best"}
    return [("Only" if len(order) == 1 else rank, order[place]) for place, rank in places.items() if order]


def _look(dataset: Dataset, rank: str, case: str, runs: Sequence[Run]) -> CaseView:
    by = runs[0].experiment.preprocess.geometry
    image, reference = dataset.read(case, by), dataset.read_label(case, by)
    masks = [_prediction(run, case, reference.data.shape) for run in runs]
    known = [mask for mask in masks if mask is not None]
    view = View(image.geometry, image.path, reference.data if reference.data.any() else sum(known, reference.data))
    truth = view.lay(reference.data[None])[0]
    planes = [None if mask is None else view.cut(mask[None])[0] for mask in masks]
    union = np.any([truth[view.position] > 0, *(plane > 0 for plane in planes if plane is not None)], axis=0)
    part = window(union, view.pixel)
    traced = []
    for run, plane in zip(runs, planes, strict=True):
        lines, distances = ([], []) if plane is None else _borders(plane, truth, view)
        placed = None if plane is None else _place(lines, part, view.pixel)
        traced.append(Traced(run, placed, distances, run.scores.case_mean(case) if run.scores else None))
    own, _ = _borders(truth[view.position], truth, view)
    piece = view.cut(image.data)[:, slice(*part.rows), slice(*part.columns)]
    return CaseView(
        rank,
        case,
        part.side,
        view.unit,
        to_pixels(piece),
        _box(part, view.pixel, piece.shape),
        _place(own, part, view.pixel),
        tuple(traced),
    )


def _borders(plane: Array, truth: Array, view: View) -> tuple[Lines, Lines]:
    """The lines of all classes in pixels of the slice, and the distances of their points."""
    all_lines: Lines = []
    all_distances: Lines = []
    for value in np.unique(plane[plane > 0]):
        lines, volume = trace(plane, int(value)), truth == value
        all_lines += lines
        if volume.any():
            all_distances += border_distances(lines, volume, view.position, view.spacing)
        else:
            all_distances += [np.full(len(line), np.nan) for line in lines]
    return all_lines, all_distances


def _prediction(run: Run, case: str, shape: tuple[int, ...]) -> Array | None:
    """The label map of a case; None where there is no file."""
    for suffix in SUFFIXES:
        path = run.path / "predictions" / f"{case}{suffix}"
        if path.is_file():
            label = read_label(path, dims=len(shape))
            if label.data.shape != shape:
                raise DataError(f"{path} does not lie on the grid of the reference")
            return label.data
    return None


def _place(lines: Lines, part: Window, pixel: tuple[float, float]) -> Lines:
    """Rows and columns of the slice as x and y in the picture; a voxel's middle is half a voxel from its edge."""
    corner = np.array([part.top, part.left])
    return [((line + 0.5 - corner) * pixel)[:, ::-1] for line in lines]


def _box(part: Window, pixel: tuple[float, float], shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    left, top = (part.columns[0] - part.left) * pixel[1], (part.rows[0] - part.top) * pixel[0]
    return left, top, shape[2] * pixel[1], shape[1] * pixel[0]


def to_pixels(values: Array) -> Array:
    """``(C, rows, columns)`` as uint8: colour as it is where it is 8-bit RGB, else the first channel, windowed to grey."""
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if len(numbers) == 3 and numbers.min() >= 0 and 1 < numbers.max() <= 255:
        return np.ascontiguousarray(numbers.transpose(1, 2, 0).astype(np.uint8))
    low, high = np.percentile(numbers[0], (0.5, 99.5))
    return np.asarray((np.clip((numbers[0] - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8))
