"""The plots of the report: scores by case, ranks, label efficiency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from scipy import stats

from fewmask.bench.case_scores import CaseScores
from fewmask.bench.ranks import Ranking
from fewmask.bench.report.content import PRIMARY, Section
from fewmask.bench.statistics import deviation
from fewmask.metrics.words import is_share, metric_title
from fewmask.report.figures import WIDTH, Dots, dot_plot, shorten
from fewmask.report.svg import (
    COLOURS,
    DIM,
    FONT_SIZE,
    GRID,
    INK,
    PAPER,
    new_axes,
    run_colour,
    run_marker,
    run_style,
    to_markup,
)

LINE = 15.0  # points from one line of a legend to the next
ROW, LOW_ROW = 44.0, 35.0  # points per method of the rank plot; of more than twelve methods
KEY = 20.0  # points of a legend's line: two whole dashes with a gap, in which the marker stands


@dataclass(frozen=True)
class Plot:
    """A figure and what stands over it.

    Attributes:
        name: unique; names its file, too.
        title: of the figure.
        figure: an SVG element.
    """

    name: str
    title: str
    figure: Markup


def case_plot(section: Section, metric: str, name: str) -> Plot:
    """Every case as a dot, its mean over the seeds, with median and quartiles of each label."""
    scale = 100 if is_share(metric) else 1
    title = metric_title(metric, section.scores[metric].unit)
    rows = [
        Dots(label, section.runs[label][0].index, _dots(section, label, metric, scale))
        for label in section.scores[metric].methods
    ]
    upper = 100.0 if is_share(metric) else None
    return Plot(name, title, dot_plot(rows, upper=upper, name=name, label=f"{section.heading}: {title} by case"))


def _dots(section: Section, label: str, metric: str, scale: float) -> dict[str, tuple[float, bool]]:
    scores = section.scores[metric]
    odd = {
        case
        for run in section.runs[label]
        if run.scores
        for case, classes in run.scores.cases.items()
        if any(score.status in ("missed", "spurious") for score in classes.values())
    }
    values = zip(scores.cases, scores.by_case(label), strict=True)
    return {case: (scale * float(value), case not in odd) for case, value in values if not np.isnan(value)}


def rank_plot(section: Section, ranking: Ranking, name: str) -> Plot:
    """Critical-difference diagram: average ranks from the best to the worst, how often each rank was taken, bars over what is alike."""
    scores = section.scores[PRIMARY].on_common_seeds(*section.labels)
    shares = _rank_shares(scores)
    count, groups = len(ranking.methods), ranking.groups()
    right = 16.0 + 10 * len(groups)
    height = 78 + (ROW if count <= COLOURS else LOW_ROW) * count
    figure, axes = new_axes(WIDTH, height, (16, 28, right, 34))
    for place, (label, average) in enumerate(zip(ranking.methods, ranking.average, strict=True)):
        y, colour = float(count - 1 - place), run_colour(section.runs[label][0].index)
        taken, share = shares[label]
        axes.plot([1, count], [y - 0.12] * 2, color=GRID, linewidth=0.8, zorder=0)
        axes.scatter(taken, [y - 0.12] * len(taken), s=260 * share, color=colour, alpha=0.28, linewidth=0, zorder=1)
        axes.plot([average] * 2, [y - 0.36, y + 0.12], color=colour, linewidth=2.6, zorder=3)
        text = f"{shorten(label, 34)}  {average:.2f}"
        axes.annotate(
            text,
            (0, y + 0.36),
            xycoords=("axes fraction", "data"),
            color=INK,
            size=FONT_SIZE,
            va="center",
            parse_math=False,
        )
    axes.set(xlim=(0.75, count + 0.25), ylim=(-0.6, count - 0.4), yticks=[], xticks=_rank_ticks(count))
    _draw_groups(axes, ranking, groups)
    _draw_critical_difference(axes, ranking, 34 / (height - 62))
    title = "Ranks by Dice, 1 is best"
    return Plot(name, title, to_markup(figure, name, f"{section.heading}: average ranks {_spoken(ranking)}"))


def _rank_ticks(count: int) -> list[int]:
    """All ranks as long as their numbers do not run together, else every fifth."""
    return [*range(1, count + 1)] if count <= COLOURS else [1, *range(5, count + 1, 5)]


def _rank_shares(scores: CaseScores) -> dict[str, tuple[list[float], np.ndarray]]:
    """By label the ranks that it takes, and in which share of the cases."""
    table = np.stack([scores.by_case(label) for label in scores.methods], axis=1)
    ranks = stats.rankdata(-table[~np.isnan(table).any(axis=1)], axis=1)
    found = {}
    for column, label in enumerate(scores.methods):
        taken, counts = np.unique(ranks[:, column], return_counts=True)
        found[label] = (taken.tolist(), counts / len(ranks))
    return found


def _draw_groups(axes: Any, ranking: Ranking, groups: Sequence[Sequence[str]]) -> None:
    """Bars beside the rows, each joining methods that cannot be told apart."""
    count = len(ranking.methods)
    for number, group in enumerate(groups):
        rows = [count - 1 - ranking.methods.index(label) for label in group]
        x = axes.get_xlim()[1]
        axes.annotate(
            "",
            (x, min(rows) - 0.36),
            (x, max(rows) + 0.3),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": INK,
                "linewidth": 3.2,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0.5, 0.5),
            },
            textcoords=_shifted(axes, 8 + 10 * number),
            xycoords=_shifted(axes, 8 + 10 * number),
        )


def _shifted(axes: Any, points: float) -> Any:
    """Data coordinates, moved to the right."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def _draw_critical_difference(axes: Any, ranking: Ranking, above: float) -> None:
    """How far apart two averages must be, to scale, over the plot."""
    length, y = ranking.critical_difference, 1 + 0.45 * above
    width = min(length, axes.get_xlim()[1] - 1)
    place = {"xycoords": ("data", "axes fraction"), "annotation_clip": False}
    axes.annotate(
        "",
        (1, y),
        (1 + width, y),
        arrowprops={"arrowstyle": "|-|,widthA=0.25,widthB=0.25", "color": DIM, "shrinkA": 0, "shrinkB": 0},
        **place,
    )
    axes.annotate(
        f"critical difference {length:.2f}",
        (1, y),
        xytext=(0, 7),
        textcoords="offset points",
        color=DIM,
        size=FONT_SIZE - 0.5,
        va="bottom",
        **place,
    )


def _spoken(ranking: Ranking) -> str:
    return ", ".join(f"{label} {average:.2f}" for label, average in zip(ranking.methods, ranking.average, strict=True))


def efficiency_plot(sections: Sequence[Section], metric: str, name: str) -> Plot | None:
    """A metric over the number of labelled cases: a line a label, a dot a seed, the band one deviation over seeds.

    Labels that were run with one number of labelled cases have no line and are left out; None where all are.
    """
    unit = sections[0].scores[metric].unit
    counts: dict[str, set[int]] = {}
    for section in sections:
        for label in section.labels:
            counts.setdefault(label, set()).add(section.setting.labelled)
    labels = [label for label, found in counts.items() if len(found) > 1]
    if not labels:
        return None
    figure, axes = _axes_with_legend(sections, labels, 236)
    scale = 100 if is_share(metric) else 1
    for label in labels:
        _draw_line(axes, [section for section in sections if label in section.labels], label, metric, scale)
    ticks = sorted({number for label in labels for number in counts[label]})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{number}" for number in ticks])
    axes.minorticks_off()
    axes.margins(x=0.06, y=0.08)
    axes.locator_params(axis="y", nbins=5, steps=(1, 2, 5, 10))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_xlabel("labelled cases", color=DIM, size=FONT_SIZE, labelpad=2)
    title = f"{metric_title(metric, unit)}, by number of labels"
    return Plot(name, title, to_markup(figure, name, title))


def _draw_line(axes: Any, sections: Sequence[Section], label: str, metric: str, scale: float) -> None:
    sections = sorted(sections, key=lambda section: section.setting.labelled)
    index = sections[0].runs[label][0].index
    colour, style, marker = run_colour(index), run_style(index), run_marker(index)
    places = [section.setting.labelled for section in sections]
    seeds = [scale * section.scores[metric].by_seed(label) for section in sections]
    means = np.array([values.mean() for values in seeds])
    spreads = np.array([deviation(values) or 0.0 for values in seeds])
    axes.fill_between(places, means - spreads, means + spreads, color=colour, alpha=0.14, linewidth=0)
    axes.plot(places, means, color=colour, linewidth=1.9, linestyle=style, zorder=3)
    axes.scatter(places, means, s=26, marker=marker, color=colour, edgecolor=PAPER, linewidth=0.8, zorder=4)
    for place, values in zip(places, seeds, strict=True):
        axes.scatter([place] * len(values), values, s=9, marker=marker, color=colour, alpha=0.55, linewidth=0, zorder=2)


def _axes_with_legend(sections: Sequence[Section], labels: Sequence[str], height: float) -> tuple[Any, Any]:
    """Axes with the labels' names over them, in as many lines as they need."""
    indices: Mapping[str, int] = {
        label: section.runs[label][0].index for section in sections for label in section.labels
    }
    lines = _in_lines(labels)
    top = 8 + LINE * len(lines)
    figure, axes = new_axes(WIDTH, height + top, (38, 42, 12, top))
    for row, line in enumerate(lines):
        x, y = 10.0, height + top - LINE * (row + 0.7)
        for label in line:
            _draw_key(figure, label, indices[label], x / WIDTH, y / (height + top))
            x += _key_width(label)
    return figure, axes


def _draw_key(figure: Any, label: str, index: int, x: float, y: float) -> None:
    from matplotlib.lines import Line2D

    colour, middle = run_colour(index), x + KEY / 2 / WIDTH
    figure.add_artist(Line2D([x, x + KEY / WIDTH], [y, y], color=colour, linestyle=run_style(index), linewidth=2))
    figure.add_artist(
        Line2D([middle], [y], color=colour, marker=run_marker(index), markersize=5, markeredgecolor=PAPER)
    )
    figure.text(x + (KEY + 5) / WIDTH, y, shorten(label, 40), color=INK, size=FONT_SIZE, va="center", parse_math=False)


def _in_lines(labels: Sequence[str]) -> list[list[str]]:
    lines: list[list[str]] = [[]]
    used = 10.0
    for label in labels:
        if lines[-1] and used + _key_width(label) > WIDTH:
            lines.append([])
            used = 10.0
        lines[-1].append(label)
        used += _key_width(label)
    return lines


def _key_width(label: str) -> float:
    return KEY + 16 + 6.4 * len(shorten(label, 40))
