"""Pictures of the report: predictions outlined on the scan, and their borders coloured by the distance from the reference's."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fewmask.report.case_views import Array, CaseView, PredictedView, Traced
from fewmask.report.data import Run
from fewmask.report.outlines import by_bin, path
from fewmask.report.svg import COLOURS

LARGEST = 640  # pixels of a picture's side; more is not seen
JPEG_ABOVE = 128 * 128  # colour pictures of more pixels are stored as JPEG
ERRORS = ("#4a7dff", "#6fb1ff", "#b9dcff", "#f4f4f0", "#ffd9a0", "#ff9d45", "#ff4d3d")
"""From far inside the reference, past its border, to far outside: the colours of the scale's bins."""
STEPS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Picture:
    """One case as one run segmented it; without a prediction file there are no drawings."""

    run: Run
    drawing: Markup | None
    errors: Markup | None
    dice: float | None


@dataclass(frozen=True)
class CasePictures:
    """A case, its place among the others, and a picture a run."""

    rank: str
    case: str
    pictures: list[Picture]


def draw_cases(views: Sequence[CaseView], name: str = "scan") -> list[CasePictures]:
    """Drawings of cases as elements of a page.

    Args:
        views: of `fewmask.report.case_views.look_at_cases`.
        name: opens every id; unique on the page.
    """
    step = error_step(views)
    return [
        CasePictures(view.rank, view.case, _draw_case(view, step, f"{name}{number}"))
        for number, view in enumerate(views)
    ]


def error_step(views: Sequence[CaseView]) -> float:
    """The scale of the distances: bins end at one, two and four steps; of half the outlines three quarters lie within four."""
    found = [np.abs(np.concatenate(traced.distances)) for view in views for traced in view.traced if traced.distances]
    known = [values[np.isfinite(values)] for values in found]
    widths = [float(np.percentile(values, 75)) for values in known if len(values)]
    most = float(np.median(widths)) if widths else 0.0
    return next((step for step in STEPS if 4 * step >= most), STEPS[-1])


def error_bins(distances: Array, step: float) -> Array:
    """The place in `ERRORS` of each distance; what is no number is as far outside as can be."""
    edges = np.array([-4, -2, -1, 1, 2, 4]) * step
    return np.where(np.isnan(distances), len(edges), np.digitize(distances, edges))


def error_legend(views: Sequence[CaseView]) -> list[tuple[int, str]]:
    """Bins and their words, from inside to outside; nothing where there is nothing to see."""
    if not views:
        return []
    step, unit = error_step(views), views[0].unit
    one, two, four = (f"{step * factor:g}" for factor in (1, 2, 4))
    words = [f"{four} {unit} or more inside", f"{two} to {four}", f"{one} to {two}", f"within {one} {unit}"]
    return list(enumerate([*words, f"{one} to {two}", f"{two} to {four}", f"{four} {unit} or more outside"]))


def _draw_case(view: CaseView, step: float, name: str) -> list[Picture]:
    """The scan and the reference are stored once a case; later pictures of the case refer to them."""
    pictures: list[Picture] = []
    shared = _shared(view, name)
    for traced in view.traced:
        drawing = errors = None
        if traced.lines is not None:
            own = f"{name}-{traced.run.index}"
            drawing = _overlay(view, traced, name, own, shared)
            errors = _errors(view, traced, step, name, own)
            shared = Markup("")
        pictures.append(Picture(traced.run, drawing, errors, traced.dice))
    return pictures


def _shared(view: CaseView, name: str) -> Markup:
    return Markup('{}<path id="{}-reference" vector-effect="non-scaling-stroke" d="{}"/>').format(
        _image(view.scan, view.box, name), name, path(view.reference, view.side)
    )


def _image(pixels: Array, box: tuple[float, float, float, float], name: str) -> Markup:
    return Markup(
        '<image id="{}" href="{}" x="{:.3f}" y="{:.3f}" width="{:.3f}" height="{:.3f}" preserveAspectRatio="none"/>'
    ).format(name, data_uri(pixels), *box)


def draw_predictions(view: PredictedView, name: str, label: str) -> Markup:
    """A scan with the outlines of predictions, each in its colour.

    Args:
        view: of `fewmask.report.case_views.look_at_predictions`.
        name: unique on the page.
        label: for those who hear the page.
    """
    lines = [path(borders, view.side) for borders in view.borders]
    styles = ["casing"] * len(lines) + [f"prediction on-dark-{number % COLOURS}" for number in range(len(lines))]
    paths = Markup("").join(
        Markup('<path class="{}" vector-effect="non-scaling-stroke" d="{}"/>').format(style, d)
        for style, d in zip(styles, [*lines, *lines], strict=True)
    )
    return Markup('<svg class="scan" viewBox="0 0 {0:g} {0:g}" role="img" aria-label="{1}">{2}{3}</svg>').format(
        view.side, label, _image(view.scan, view.box, name), paths
    )


def _overlay(view: CaseView, traced: Traced, name: str, own: str, shared: Markup) -> Markup:
    """The scan with both outlines; a dark casing keeps them visible on bright tissue."""
    return Markup(
        '<svg class="scan" viewBox="0 0 {side:g} {side:g}" role="img" aria-label="{label}"><defs>{shared}<path id="{own}" vector-effect="non-scaling-stroke" d="{d}"/></defs>'
        '<use href="#{name}"/><use class="casing" href="#{name}-reference"/><use class="casing" href="#{own}"/>'
        '<use class="reference" href="#{name}-reference"/><use class="prediction on-dark-{colour}" href="#{own}"/></svg>'
    ).format(
        side=view.side,
        label=f"{view.case}: reference and prediction of {traced.run.name}",
        shared=shared,
        own=own,
        name=name,
        d=path(traced.lines or (), view.side),
        colour=traced.run.index % COLOURS,
    )


def _errors(view: CaseView, traced: Traced, step: float, name: str, own: str) -> Markup:
    """The scan with the prediction's outline in the colours of its distances."""
    bins = [error_bins(distances, step) for distances in traced.distances]
    pieces = by_bin(traced.lines or (), bins)
    coloured = Markup("").join(
        Markup('<path class="error-{}" vector-effect="non-scaling-stroke" d="{}"/>').format(
            number, path(lines, view.side, closed=False)
        )
        for number, lines in sorted(pieces.items())
    )
    return Markup(
        '<svg class="scan" viewBox="0 0 {side:g} {side:g}" role="img" aria-label="{label}">'
        '<use href="#{name}"/><use class="reference faint" href="#{name}-reference"/><use class="casing" href="#{own}"/>{coloured}</svg>'
    ).format(
        side=view.side,
        label=f"{view.case}: distance of {traced.run.name} from the reference along its border",
        name=name,
        own=own,
        coloured=coloured,
    )


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
