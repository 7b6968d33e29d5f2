"""Pictures of the report: reference and prediction outlined on the scan, for the worst, the median and the best case."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from markupsafe import Markup

from fewmask.data.dataset import Dataset
from fewmask.data.image import SUFFIXES, read_label
from fewmask.errors import DataError
from fewmask.report.data import Run
from fewmask.report.slices import Array, View, Window, window
from fewmask.report.svg import COLOURS

LARGEST = 640  # pixels of a picture's side; more is not seen
JPEG_ABOVE = 256 * 256  # colour pictures of more pixels are stored as JPEG


@dataclass(frozen=True)
class Picture:
    """One case as one run segmented it; without a prediction file there is no drawing."""

    run: Run
    drawing: Markup | None
    dice: float | None


@dataclass(frozen=True)
class CasePictures:
    """A case, its place among the others, and a picture a run."""

    rank: str
    case: str
    pictures: list[Picture]


def draw_cases(runs: Sequence[Run]) -> tuple[list[CasePictures], list[str]]:
    """Pictures of the worst, the median and the best case by mean Dice over the runs, so that none is favoured.

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
    drawn, problems = [], []
    for number, (rank, case) in enumerate(chosen):
        try:
            drawn.append(CasePictures(rank, case, _draw_case(dataset, case, scored, f"scan{number}")))
        except (DataError, OSError) as error:
            problems.append(f"No picture of {case}: {error}.")
    return drawn, problems


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


def _draw_case(dataset: Dataset, case: str, runs: Sequence[Run], name: str) -> list[Picture]:
    image, reference = dataset.read(case), dataset.read_label(case)
    masks = {run.index: _prediction(run, case, reference.data.shape) for run in runs}
    known = [mask for mask in masks.values() if mask is not None]
    view = View(image.geometry, image.path, reference.data if reference.data.any() else sum(known, reference.data))
    truth = view.cut(reference.data[None])[0]
    planes = {index: None if mask is None else view.cut(mask[None])[0] for index, mask in masks.items()}
    union = np.any([truth > 0, *(plane > 0 for plane in planes.values() if plane is not None)], axis=0)
    part = window(union, view.pixel)
    scan = _image_element(view.cut(image.data), part, view.pixel, name)
    pictures: list[Picture] = []
    for run in runs:
        plane, drawing = planes[run.index], None
        if plane is not None:
            # The scan is stored once a case; later pictures of the case refer to it.
            background = Markup('<use href="#{}"/>').format(name) if any(p.drawing for p in pictures) else scan
            label = f"{case}: reference and prediction of {run.name}"
            outlines = _outline(truth, part, view.pixel), _outline(plane, part, view.pixel)
            drawing = _drawing(background, *outlines, side=part.side, colour=run.index % COLOURS, label=label)
        pictures.append(Picture(run, drawing, run.scores.case_mean(case) if run.scores else None))
    return pictures


def _prediction(run: Run, case: str, shape: tuple[int, ...]) -> Array | None:
    """The label map of a case; None where there is no file."""
    for suffix in SUFFIXES:
        path = run.path / "predictions" / f"{case}{suffix}"
        if path.is_file():
            label = read_label(path)
            if label.data.shape != shape:
                raise DataError(f"{path} does not lie on the grid of the reference")
            return label.data
    return None


def _drawing(scan: Markup, reference: str, prediction: str, *, side: float, colour: int, label: str) -> Markup:
    """The scan with both outlines, which are paths; a dark casing keeps them visible on bright tissue."""
    return Markup(
        '<svg class="scan" viewBox="0 0 {side:g} {side:g}" role="img" aria-label="{label}">{scan}'
        '<path class="casing" d="{reference}"/><path class="casing" d="{prediction}"/>'
        '<path class="reference" d="{reference}"/><path class="prediction on-dark-{colour}" d="{prediction}"/></svg>'
    ).format(side=side, label=label, scan=scan, reference=reference, prediction=prediction, colour=colour)


def _outline(labels: Array, part: Window, pixel: tuple[float, float]) -> str:
    """The borders of every class in the window, as the path of an SVG whose unit is the millimetre."""
    from matplotlib.figure import Figure

    rows, columns = slice(*part.rows), slice(*part.columns)
    commands = []
    for value in np.unique(labels[labels > 0]):
        # A frame of background closes the outlines at the window's edge.
        mask = np.pad((labels[rows, columns] == value).astype(float), 1)
        if min(mask.shape) < 2 or not mask.any():
            continue
        for line in Figure().subplots().contour(mask, levels=[0.5]).allsegs[0]:
            x = (line[:, 0] - 0.5 + part.columns[0] - part.left) * pixel[1]
            y = (line[:, 1] - 0.5 + part.rows[0] - part.top) * pixel[0]
            commands.append("M" + "L".join(f"{a:.2f} {b:.2f}" for a, b in zip(x, y, strict=True)) + "Z")
    return "".join(commands)


def _image_element(values: Array, part: Window, pixel: tuple[float, float], name: str) -> Markup:
    """The window's part of ``(C, rows, columns)`` as an SVG image in millimetres."""
    piece = values[:, slice(*part.rows), slice(*part.columns)]
    return Markup(
        '<image id="{}" href="{}" x="{:.3f}" y="{:.3f}" width="{:.3f}" height="{:.3f}" preserveAspectRatio="none"/>'
    ).format(
        name,
        data_uri(to_pixels(piece)),
        (part.columns[0] - part.left) * pixel[1],
        (part.rows[0] - part.top) * pixel[0],
        piece.shape[2] * pixel[1],
        piece.shape[1] * pixel[0],
    )


def to_pixels(values: Array) -> Array:
    """``(C, rows, columns)`` as uint8: colour as it is where it is 8-bit RGB, else the first channel, windowed to grey."""
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if len(numbers) == 3 and numbers.min() >= 0 and 1 < numbers.max() <= 255:
        return np.ascontiguousarray(numbers.transpose(1, 2, 0).astype(np.uint8))
    low, high = np.percentile(numbers[0], (0.5, 99.5))
    return np.asarray((np.clip((numbers[0] - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8))


def data_uri(pixels: Array) -> str:
    """An image as text that can stand in a page."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST))
    photo = pixels.ndim == 3 and picture.width * picture.height > JPEG_ABOVE
    kind = "jpeg" if photo else "png"
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 85} if photo else {"optimize": True}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
