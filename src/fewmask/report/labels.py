"""Where the names of points in a plot go, so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MARK = 5.0  # half the side of the square that a point takes
REACHES = (8.0, 13.0, 20.0, 28.0, 38.0, 50.0, 64.0, 80.0, 100.0)  # from the point to the nearest edge of its name
DIRECTIONS = 24
SWEEPS = 5
STEPS = 12  # samples of the line from a point to its name
# prices: a name on a name, on a point, on another obstacle; a point of distance costs 1
COVERED, MARKED, BARRED = 30.0, 16.0, 2.0
CROSSED = 12.0  # a line through a name or a point
# by how much a name's own point is not APART nearer than any other; where it is far, a line tells whose it is
MISTAKEN, APART = 2.0, 4.0


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    area: tuple[float, float, float, float],
    obstacles: Sequence[tuple[float, float, float, float]] = (),
) -> list[tuple[float, float]]:
    """Centres of the names of points: near, inside, and clear of each other where there is room.

    The name in the most crowded place goes first; then each in turn moves to where it is best given all others, a few times.

    Args:
        points: in the unit of ``sizes``.
        sizes: width and height of each name.
        area: left, bottom, right and top of where names may lie.
        obstacles: boxes of what else had better stay free, likewise.
    """
    places, extents = np.array(points, float), np.array(sizes, float)
    marks = np.concatenate([places - MARK, places + MARK], axis=1)
    bars = np.array(obstacles, float).reshape(-1, 4)
    boxes = np.full((len(places), 4), np.nan)
    near = np.linalg.norm(places[:, None] - places[None], axis=2)
    crowd = np.sort(near, axis=1)[:, : min(4, len(places))].sum(axis=1)
    for _ in range(SWEEPS):
        for index in np.argsort(crowd, kind="stable"):
            boxes[index] = np.nan
            tried = _candidates(places[index], extents[index], area)
            boxes[index] = tried[np.argmin(_prices(tried, places[index], boxes, marks, bars))]
    return [(float(left + right) / 2, float(low + high) / 2) for left, low, right, high in boxes]


def _candidates(point: Floats, size: Floats, area: tuple[float, float, float, float]) -> Floats:
    """``(n, 4)`` boxes around a point, moved into the area."""
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centres = np.concatenate([point + ways * (reach + size / 2) for reach in REACHES])
    low, high = np.array(area[:2]) + size / 2, np.array(area[2:]) - size / 2
    centres = np.clip(centres, low, np.maximum(low, high))
    return np.concatenate([centres - size / 2, centres + size / 2], axis=1)


def nearest(box: Any, point: Any) -> Floats:
    """``(..., 2)``: where boxes ``(..., 4)`` come nearest to a point; lines to a name end there."""
    boxes = np.asarray(box, float)
    found: Floats = np.clip(point, boxes[..., :2], boxes[..., 2:])
    return found


def _prices(tried: Floats, point: Floats, others: Floats, marks: Floats, bars: Floats) -> Floats:
    """``(n,)``: what is wrong with each candidate."""
    ends = nearest(tried, point)
    away = np.linalg.norm(ends - point, axis=1)
    others = others[~np.isnan(others[:, 0])]
    along = point + np.linspace(0, 1, STEPS)[1:, None] * (ends - point)[:, None]  # (n, steps, 2)
    elsewhere = marks[~((marks[:, :2] <= point) & (point <= marks[:, 2:])).all(axis=1)]
    strangers = (elsewhere[:, None, :2] + elsewhere[:, None, 2:]) / 2
    strange = np.linalg.norm(nearest(tried, strangers) - strangers, axis=2)  # (others, n)
    prices: Floats = (
        away
        + COVERED * _overlap(tried, others)
        + MARKED * _overlap(tried, marks)
        + BARRED * _overlap(tried, bars)
        + CROSSED * (_inside(along, others) + _inside(along, elsewhere))
        + MISTAKEN * np.clip(away + APART - strange, 0, 2 * APART).max(axis=0, initial=0)
    )
    return prices


def _inside(points: Floats, boxes: Floats) -> Floats:
    """``(n,)``: how many of points ``(n, steps, 2)`` lie in boxes."""
    each = points[:, :, None]
    found: Floats = ((each >= boxes[:, :2]) & (each <= boxes[:, 2:])).all(axis=3).sum(axis=(1, 2)).astype(float)
    return found


def _overlap(boxes: Floats, others: Floats) -> Floats:
    """``(n,)``: how deep boxes lie in others, summed: the square root of the common area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    depth: Floats = np.sqrt(np.prod(np.maximum(high - low, 0), axis=2)).sum(axis=1)
    return depth
