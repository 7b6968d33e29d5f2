"""Metrics as people read them: titles, and means with their spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fewmask.metrics.score import DISTANCES, EXTRAS

TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95": "HD95",
    "hd95_directed": "HD95 directed",
    "asd": "ASD",
    "assd": "ASSD",
    "hd_rowset": "Row-set HD",
}
UNITS = {"mm": "mm", "voxel": "voxels", "px": "pixels"}  # of distances
PLAIN = ("voxel", "px")  # those that count, whatever a voxel's size is


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and is shown in per cent; the others are distances."""
    return metric not in (*DISTANCES, *EXTRAS)


def metric_title(metric: str, unit: str | None = None) -> str:
    """``"HD95"``; ``"HD95, mm"`` with the unit of the distances, which overlaps replace by ``%``."""
    title = TITLES.get(metric, metric.upper())
    return title if unit is None or metric in EXTRAS else f"{title}, {'%' if is_share(metric) else unit}"


def number(value: float | None, metric: str, digits: int | None = None) -> str:
    """A value of a metric; a dash where there is none.

    Args:
        value: as computed: a share in [0, 1], or a distance.
        metric: its name.
        digits: behind the point; none: one for per cent and two for distances.
    """
    if value is None:
        return "–"
    share = is_share(metric)
    if digits is None:
        digits = 1 if share else 2
    return f"{100 * value if share else value:.{digits}f}"


def mean_and_spread(values: Mapping[str, Any], metric: str, digits: int | None = None) -> tuple[str, str]:
    """Mean and ``± std``; the latter is empty where there is none."""
    spread = "" if values["std"] is None else f"± {number(values['std'], metric, digits)}"
    return number(values["mean"], metric, digits), spread


def p_number(p: float) -> str:
    """``"0.012"``, ``"< 0.001"``; spaces here and below do not break."""
    return "<\u00a00.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def p_value(p: float) -> str:
    """``"p = 0.012"``, ``"p < 0.001"``."""
    return f"p\u00a0{p_number(p)}" if p < 0.001 else f"p\u00a0=\u00a0{p_number(p)}"
