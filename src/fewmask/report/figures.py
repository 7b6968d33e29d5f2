"""The plots of the report: scores by case, and curves of the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from markupsafe import Markup

from fewmask.report.data import Curve, Run
from fewmask.report.svg import COLOURS, DIM, FONT_SIZE, GRID, INK, PAPER, new_axes, run_colour, run_style, to_markup

WIDTH = 340
ROW, LOW_ROW = 58, 44  # points per run; of more than twelve runs, so that they fit onto a page
MOST_DOTS = 400  # of a run; beyond, only the box is drawn
POINTS = 240  # of a curve
FEWEST_TO_SMOOTH = 40


@dataclass(frozen=True)
class Dots:
    """A row of a plot: what is scored, the number of its colour, and by case the value and whether both masks hold the class."""

    name: str
    index: int
    values: Mapping[str, tuple[float, bool]]


def score_plot(
    runs: Sequence[Run], class_name: str, metric: str, *, scale: float, upper: float | None, name: str, label: str
) -> Markup:
    """`dot_plot` of scored runs.

    Args:
        runs: scored runs.
        class_name: the class.
        metric: of ``scores.csv``.
        scale: 100 for per cent.
        upper: end of the axis; None: as the values ask.
        name: unique on the page.
        label: for those who hear the page.
    """
    rows = [Dots(run.name, run.index, _values(run, class_name, metric, scale)) for run in runs]
    return dot_plot(rows, upper=upper, name=name, label=label)


def dot_plot(rows: Sequence[Dots], *, upper: float | None, name: str, label: str) -> Markup:
    """Every case as a dot, with median and quartiles of each row; of two rows, lines join the cases.

    A hollow dot is a case where only one of prediction and reference holds the class.

    Args:
        rows: from top to bottom.
        upper: end of the axis; None: as the values ask.
        name: unique on the page.
        label: for those who hear the page.
    """
    paired = len(rows) == 2
    height = 40 + (ROW if len(rows) <= COLOURS else LOW_ROW) * len(rows)
    figure, axes = new_axes(WIDTH, height, (12, 26, 14, 4))
    places = [float(len(rows) - 1 - number) for number in range(len(rows))]
    if paired:
        first, second = (row.values for row in rows)
        for case in first.keys() & second.keys():
            axes.plot([first[case][0], second[case][0]], places, color=DIM, alpha=0.35, linewidth=0.8, zorder=1)
    for row, place in zip(rows, places, strict=True):
        # Between two joined rows nothing may cover the lines: box and name lie on the outer side.
        outside = -1.0 if paired and place == 0 else 1.0
        _draw_row(axes, row, place, outside, flat=paired)
    _finish_score_axes(axes, [value for row in rows for value, _ in row.values.values()], upper, len(rows))
    return to_markup(figure, name, label)


def _values(run: Run, class_name: str, metric: str, scale: float) -> dict[str, tuple[float, bool]]:
    """Of the cases that have the class."""
    found = {}
    for case, classes in run.scores.cases.items() if run.scores else ():
        score = classes.get(class_name)
        value = score.metrics.get(metric) if score else None
        if score and value is not None:
            found[case] = (scale * value, score.status == "found")
    return found


def _draw_row(axes: Any, row: Dots, place: float, outside: float, *, flat: bool) -> None:
    colour, values = run_colour(row.index), sorted(value for value, _ in row.values.values())
    axes.annotate(
        shorten(row.name, 44),
        (0, place + 0.36 * outside),
        xycoords=("axes fraction", "data"),
        color=INK,
        size=FONT_SIZE,
        va="center",
        parse_math=False,
    )
    box = place + 0.15 * outside if flat else place
    if len(values) > 1:
        low, middle, high = quantiles(values, n=4, method="inclusive")
        axes.barh(box, high - low, 0.14 if flat else 0.3, low, color=colour, alpha=0.22, linewidth=0, zorder=1)
        half = 0.07 if flat else 0.15
        axes.plot([middle, middle], [box - half, box + half], color=colour, linewidth=2, zorder=4)
    if len(values) > MOST_DOTS:
        return
    for whole in (True, False):
        dots = [value for value, found in row.values.values() if found == whole]
        face, edge = (colour, PAPER) if whole else (PAPER, colour)
        heights = [place] * len(dots) if flat else [place + offset for offset in _spread(dots)]
        axes.scatter(dots, heights, s=27, facecolor=face, edgecolor=edge, linewidth=0.8, zorder=3)


def _spread(values: Sequence[float]) -> list[float]:
    """Offsets that keep near dots apart: each goes to the free level nearest to the middle."""
    width = max(max(values, default=0) - min(values, default=0), 1e-9) / 30
    offsets, last = [0.0] * len(values), [-math.inf] * 5
    for position in sorted(range(len(values)), key=values.__getitem__):
        free = [level for level, value in enumerate(last) if values[position] - value >= width]
        level = free[0] if free else min(range(len(last)), key=last.__getitem__)
        last[level] = values[position]
        offsets[position] = 0.09 * ((level + 1) // 2) * (1 if level % 2 else -1)
    return offsets


def _finish_score_axes(axes: Any, values: Sequence[float], upper: float | None, rows: int) -> None:
    top = upper if upper is not None else max(values, default=1) * 1.04 or 1
    step = 10 if upper is not None else 0
    low = min(math.floor(min(values, default=0) / step) * step, top - step) if step else 0.0
    room = (top - low) * 0.025
    axes.set_xlim(low - room, top + room)
    axes.set_ylim(-0.52, rows - 0.44)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=6, steps=(1, 2, 5, 10))
    axes.grid(axis="x", color=GRID, linewidth=0.8)


def curve_plot(runs: Sequence[Run], column: str, *, scale: float, smooth: bool, name: str, label: str) -> Markup:
    """A column of ``metrics.csv`` over the iterations, a line a run; noisy ones with a running mean over them.

    Args:
        runs: in any number; those without the column are left out.
        column: of ``metrics.csv``.
        scale: 100 for per cent.
        smooth: whether the column is noisy by nature.
        name: unique on the page.
        label: for those who hear the page.
    """
    figure, axes = new_axes(WIDTH, 176, (42, 24, 12, 8))
    for run in runs:
        if column in run.curves:
            _draw_curve(axes, run, run.curves[column], scale, smooth)
    if len(runs) == 1:
        for _, start in runs[0].phases[1:]:
            axes.axvline(start, color=DIM, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.margins(x=0.02, y=0.08)
    axes.set_xlim(left=0)
    axes.locator_params(axis="both", nbins=4, steps=(1, 2, 5, 10))
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4), useMathText=False)
    axes.yaxis.get_offset_text().set(color=DIM, size=FONT_SIZE - 1.5)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    return to_markup(figure, name, label)


def _draw_curve(axes: Any, run: Run, curve: Curve, scale: float, smooth: bool) -> None:
    places, values = thin(curve)
    values, colour, style = values * scale, run_colour(run.index), run_style(run.index)
    if len(values) == 1:
        axes.plot(places, values, "o", color=colour, markersize=5)
    elif smooth and len(values) >= FEWEST_TO_SMOOTH:
        axes.plot(places, values, color=colour, alpha=0.28, linewidth=0.8)
        axes.plot(places, running_mean(values, len(values) // 16), color=colour, linewidth=1.8, linestyle=style)
    else:
        axes.plot(places, values, color=colour, linewidth=1.8, linestyle=style)


def running_mean(values: Any, half: int) -> Any:
    """Means over ``2 half + 1`` neighbours, fewer towards the ends, where the window shrinks on both sides.

    Args:
        values: float64 ``(n,)``; NaN does not count.
        half: neighbours on either side.
    """
    import numpy as np

    place = np.arange(len(values))
    reach = np.minimum(half, np.minimum(place, place[::-1]))
    known = np.isfinite(values)
    sums, counts = (np.append(0, np.cumsum(part)) for part in (np.where(known, values, 0), known))
    amount = counts[place + reach + 1] - counts[place - reach]
    total = sums[place + reach + 1] - sums[place - reach]
    return np.where(amount > 0, total / np.maximum(amount, 1), np.nan)


def thin(curve: Curve) -> tuple[Any, Any]:
    """A curve of at most `POINTS` points: means of neighbours; not-finite values are gaps.

    Returns:
        Iterations and values, float64 ``(n,)`` each.
    """
    import numpy as np

    places, values = np.array(curve.iterations, float), np.array(curve.values, float)
    values[~np.isfinite(values)] = np.nan
    group = math.ceil(len(values) / POINTS)
    if group == 1:
        return places, values
    starts = np.arange(0, len(values), group)
    sizes = np.diff(np.append(starts, len(values)))
    return np.add.reduceat(places, starts) / sizes, np.add.reduceat(values, starts) / sizes


def thousands(value: float) -> str:
    """``6000`` as ``6k``, as axes of iterations are read."""
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def shorten(name: str, most: int) -> str:
    """A name in at most ``most`` characters; the middle goes, because runs differ at their ends."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"
