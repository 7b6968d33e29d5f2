"""Pictures of a case as a file: what the page shows as SVG, for places that show none with scans in it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from fewmask.report.case_views import CaseView, Traced
from fewmask.report.figures import shorten
from fewmask.report.outlines import by_bin
from fewmask.report.pictures import ERRORS, error_bins
from fewmask.report.svg import COLOURS, palette

ACROSS = 4  # pictures in a row
SIDE = 2.3  # inches of a picture
DOTS = 110  # per inch


def montage(view: CaseView, step: float) -> bytes:
    """A case as a JPEG: for every method the outlines and, below them, the border in the colours of its distances.

    Args:
        view: the case.
        step: of the distances' scale.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(ACROSS, len(view.traced))
    lines = -(-len(view.traced) // columns)
    figure = Figure(figsize=(SIDE * columns, lines * (2 * SIDE + 0.28)), dpi=DOTS, facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 * lines, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for number, traced in enumerate(view.traced):
        row, column = 2 * (number // columns), number % columns
        _draw_overlay(panels[row][column], view, traced)
        _draw_errors(panels[row + 1][column], view, traced, step)
    figure.subplots_adjust(
        left=0.01, right=0.99, bottom=0.01, top=1 - 0.28 / (lines * (2 * SIDE + 0.28)), wspace=0.03, hspace=0.09
    )
    target = io.BytesIO()
    figure.savefig(target, format="jpg", pil_kwargs={"quality": 88, "optimize": True})
    return target.getvalue()


def _draw_overlay(axes: Any, view: CaseView, traced: Traced) -> None:
    dice = "" if traced.dice is None else f"  {100 * traced.dice:.1f} %"
    axes.set_title(f"{shorten(traced.run.name, 24)}{dice}", fontsize=7.5, pad=4, color="#16191d", parse_math=False)
    _draw_scan(axes, view)
    if traced.lines is None:
        axes.text(0.5, 0.5, "no prediction file", transform=axes.transAxes, ha="center", color="#9aa4b0", fontsize=9)
        return
    _draw_lines(axes, view.reference, "#ffffff", 1.3)
    _draw_lines(axes, traced.lines, _bright(traced.run.index), 1.4)


def _draw_errors(axes: Any, view: CaseView, traced: Traced, step: float) -> None:
    _draw_scan(axes, view)
    _draw_lines(axes, view.reference, "#ffffff", 0.6)
    _draw_casing(axes, traced.lines or (), 1.8)
    bins = [error_bins(distances, step) for distances in traced.distances]
    for number, lines in sorted(by_bin(traced.lines or (), bins).items()):
        _draw_lines(axes, lines, ERRORS[number], 1.8, casing=False)  # it would cut the border into pieces


def _draw_scan(axes: Any, view: CaseView) -> None:
    left, top, width, height = view.box
    axes.imshow(view.scan, cmap="gray", extent=(left, left + width, top + height, top), interpolation="bilinear")
    axes.set(xlim=(0, view.side), ylim=(view.side, 0), aspect="equal")


def _draw_lines(axes: Any, lines: Sequence[Any], colour: str, width: float, *, casing: bool = True) -> None:
    if casing:
        _draw_casing(axes, lines, width)
    for line in lines:
        axes.plot(line[:, 0], line[:, 1], color=colour, linewidth=width)


def _draw_casing(axes: Any, lines: Sequence[Any], width: float) -> None:
    """A dark edge keeps lines visible on bright tissue."""
    for line in lines:
        axes.plot(line[:, 0], line[:, 1], color="black", alpha=0.55, linewidth=width + 1.4)


def _bright(index: int) -> str:
    """The colour of a run on a scan, which is dark in either theme."""
    return palette(dark=True)[f"--run-{index % COLOURS}"]
