"""What a method costs against what it scores: a point a method, its name beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fewmask.bench.report.content import Section
from fewmask.bench.report.figures import Plot
from fewmask.bench.statistics import deviation
from fewmask.metrics.words import is_share, metric_title
from fewmask.report.figures import WIDTH, shorten, thousands
from fewmask.report.labels import nearest, place_labels
from fewmask.report.svg import DIM, FONT_SIZE, GRID, INK, PAPER, new_axes, run_colour, run_marker, to_markup

SIZE = FONT_SIZE - 0.5  # of the names
EM = 0.6  # mean width of a letter, of its height
MARGINS = (38.0, 42.0, 8.0, 8.0)
ROOM = 24.0  # points of height per method; names need them
FAR = 12.0  # a name that is farther from its point has a line to it
MOST_BARS = 8  # with more methods, bars would hide the points


def cost_plot(section: Section, metric: str, name: str) -> Plot | None:
    """The mean score over the mean time of a training; None where no time was logged.

    Up to eight methods have bars of one deviation over seeds.
    """
    minutes = {
        label: float(np.mean(seconds)) / 60
        for label in section.labels
        if (seconds := [run.seconds for run in section.runs[label] if run.seconds])
    }
    if not minutes:
        return None
    scale = 100 if is_share(metric) else 1
    scores = {label: scale * section.scores[metric].by_seed(label) for label in minutes}
    indices = {label: section.runs[label][0].index for label in minutes}
    spreads = {label: deviation(values) if len(minutes) <= MOST_BARS else None for label, values in scores.items()}
    figure, axes = new_axes(WIDTH, max(236.0, 90 + ROOM * len(minutes)), MARGINS)
    for label, values in scores.items():
        place, colour = (minutes[label], values.mean()), run_colour(indices[label])
        axes.errorbar(*place, yerr=spreads[label] or None, color=colour, alpha=0.6, linewidth=1.2, capsize=3, zorder=2)
        marker = run_marker(indices[label])
        size = 36 if marker == "D" else 54
        axes.scatter(*place, s=size, marker=marker, color=colour, edgecolor=PAPER, linewidth=1, zorder=3)
    _finish(axes, list(minutes.values()))
    points = {label: (minutes[label], float(values.mean()), spreads[label] or 0.0) for label, values in scores.items()}
    _name(figure, axes, points, indices)
    title = f"{metric_title(metric, section.scores[metric].unit)}, by time of training"
    return Plot(name, title, to_markup(figure, name, f"{section.heading}: {title}"))


def _finish(axes: Any, minutes: Sequence[float]) -> None:
    axes.margins(x=0.12, y=0.14)
    wide = max(minutes) >= 10 * min(minutes)
    if wide:
        axes.set_xscale("log")
        _few_log_ticks(axes, minutes)
    else:
        axes.locator_params(axis="x", nbins=6, steps=(1, 2, 5, 10))
    axes.locator_params(axis="y", nbins=5, steps=(1, 2, 5, 10))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    words = "minutes of training" + (", logarithmic" if wide else "")
    axes.set_xlabel(words, color=DIM, size=FONT_SIZE, labelpad=2)


def _few_log_ticks(axes: Any, values: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 times powers of ten around the values."""
    low, high = min(values) / 1.3, max(values) * 1.3
    steps = [factor * 10.0**power for power in range(-3, 6) for factor in (1, 2, 5)]
    ticks = [step for step in steps if low <= step <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [thousands(step) for step in ticks])
    axes.minorticks_off()


def _name(figure: Any, axes: Any, values: Mapping[str, tuple[float, float, float]], indices: Mapping[str, int]) -> None:
    """Write the labels beside their points (minutes, mean, spread); a line in the point's colour leads to one that had to go farther."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches() * 72
    points = [axes.transData.transform((minutes, mean)) for minutes, mean, _ in values.values()]
    texts = [shorten(label, 34) for label in values]
    sizes = [(EM * SIZE * len(text), 1.15 * SIZE) for text in texts]
    inside = axes.get_window_extent()
    area = (inside.x0 + 2, inside.y0 + 2, width - 3, inside.y1)
    bars = [_bar(axes, *point) for point in values.values() if point[2]]
    centres = place_labels(points, sizes, area, bars)
    for label, text, point, (x, y), size in zip(values, texts, points, centres, sizes, strict=True):
        box = (x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2)
        end = nearest(box, point)
        if np.hypot(*(end - point)) > FAR:
            across, up = zip(point, end, strict=True)
            line = Line2D(
                np.array(across) / width, np.array(up) / height, color=run_colour(indices[label]), linewidth=0.8
            )
            figure.add_artist(line)
        side = "left" if box[0] >= point[0] else "right" if box[2] <= point[0] else "center"
        at = {"left": box[0], "right": box[2], "center": x}[side]
        figure.text(at / width, y / height, text, color=INK, size=SIZE, ha=side, va="center_baseline", parse_math=False)


def _bar(axes: Any, minutes: float, mean: float, spread: float) -> tuple[float, float, float, float]:
    """The box that the bar of a point takes."""
    (left, low), (right, high) = axes.transData.transform([(minutes, mean - spread), (minutes, mean + spread)])
    return left - 3, low, right + 3, high
