"""Numbers as the report writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OVERLAPS = ("dice", "jaccard")
TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95": "HD95",
    "hd95_directed": "HD95 directed",
    "asd": "ASD",
    "assd": "ASSD",
}


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and is shown in per cent; the others are distances."""
    return metric in OVERLAPS or metric.startswith("nsd")


def metric_title(metric: str, unit: str) -> str:
    """``"HD95, mm"``."""
    return f"{TITLES.get(metric, metric.upper())}, {'%' if is_share(metric) else unit}"


def number(value: float | None, metric: str) -> str:
    """A value of a metric: per cent with one digit, distances with two; a dash where there is none."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}" if is_share(metric) else f"{value:.2f}"


def mean_and_spread(values: Mapping[str, Any], metric: str) -> tuple[str, str]:
    """Mean and ``± std``; the latter is empty where there is none."""
    spread = "" if values["std"] is None else f"± {number(values['std'], metric)}"
    return number(values["mean"], metric), spread


def duration(seconds: float | None) -> str:
    """``"4 min 12 s"``."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def count(amount: int, thing: str) -> str:
    """``"1 scan"``, ``"3 scans"``."""
    return f"{amount:,} {thing}{'' if amount == 1 else 's'}".replace(",", "\u202f")
