"""Which scan to label next: from numbers a scan to an order.

Arrays are over scans: doubts ``(n,)``, features ``(n, d)``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fewmask.metrics.overlap import dice

Array = NDArray[Any]
By = Literal["entropy", "disagreement", "diversity", "combined"]


UNSURE = 0.286  # normalised entropy of two classes with the probabilities 0.95 and 0.05


def foreground_doubt(entropy: Array, foreground: Array) -> float:
    """The mean entropy of the voxels that are foreground, or might be: predicted foreground, and all others above `UNSURE`.

    A mean over the volume would say how large an organ's surface is in the field of view, and a mean over the predicted foreground would
    not see what the model almost found. Over both together it goes with the share of a mask that is wrong, as Dice does.

    Args:
        entropy: ``(*S)`` in [0, 1], see `fewmask.inference.postprocess.entropy_map`.
        foreground: bool ``(*S)``.

    Returns:
        0 to 1; 0 where nothing was found and nothing is in doubt.
    """
    region = foreground | (entropy >= UNSURE)
    return float(entropy[region].mean(dtype=np.float64)) if region.any() else 0.0


def disagreement(label_maps: Sequence[Array], classes: int) -> float:
    """1 - the mean Dice of all pairs of label maps, over the foreground classes that one of the pair holds; 0 where none does.

    Args:
        label_maps: ``(*S)`` each, two or more.
        classes: their number, with the background.
    """
    scores = []
    for first, second in itertools.combinations(label_maps, 2):
        for value in range(1, classes):
            one, other = first == value, second == value
            if one.any() or other.any():
                scores.append(dice(int(one.sum()), int(other.sum()), int((one & other).sum())))
    return 1 - float(np.mean(scores)) if scores else 0.0


def percentile_ranks(values: Array) -> Array:
    """The share of values that are not larger, in (0, 1]; equal values are equal."""
    return np.array([(values <= value).mean() for value in values])


@dataclass(frozen=True)
class Pick:
    """A place in an order.

    Attributes:
        index: of the scan.
        novelty: its distance to the nearest of the known scans and of those before it in the order.
        nearest: that scan: its index, or ``-1 - index`` among the known ones; None where there is none.
    """

    index: int
    novelty: float
    nearest: int | None


def standardised(features: Array) -> Array:
    """Features with mean 0 and variance 1 over the scans, over the root of their number; those without variance left out."""
    spread = features.std(0)
    kept = features[:, spread > 1e-12]
    return np.asarray((kept - kept.mean(0)) / spread[spread > 1e-12] / max(kept.shape[1], 1) ** 0.5)


def order(doubts: Array | None, features: Array, known: Array, *, spreads: bool) -> list[Pick]:
    """An order of scans.

    With ``spreads`` each next scan is the one with the largest ``doubt x distance to the nearest scan that is known or was taken``;
    without doubts that is the greedy k-centre of Sener and Savarese (2018). A copy of a scan that was taken has distance 0 and
    goes to the end, and so does a scan without doubt. Otherwise the order is that of the doubts.

    Args:
        doubts: none: all alike.
        features: of the scans to order.
        known: features ``(m, d)`` of the scans that have labels.
        spreads: whether distances count.
    """
    everything = standardised(np.concatenate([features, known]))
    places, fixed = everything[: len(features)], everything[len(features) :]
    distance = np.full(len(places), np.inf)
    nearest = np.full(len(places), -1)
    for number, centre in enumerate(fixed):
        _approach(distance, nearest, np.linalg.norm(places - centre, axis=1), -1 - number)
    weights = np.ones(len(places)) if doubts is None else doubts
    left, picks = np.ones(len(places), dtype=bool), []
    for _ in places:
        gain = weights * np.where(np.isinf(distance), _first(places), distance) if spreads else weights
        chosen = int(np.argmax(np.where(left, gain, -np.inf)))
        told = None if np.isinf(distance[chosen]) else int(nearest[chosen])
        picks.append(Pick(chosen, float(distance[chosen]) if told is not None else 0.0, told))
        left[chosen] = False
        _approach(distance, nearest, np.linalg.norm(places - places[chosen], axis=1), chosen)
    return picks


def _approach(distance: Array, nearest: Array, found: Array, name: int) -> None:
    closer = found < distance
    distance[closer], nearest[closer] = found[closer], name


def _first(places: Array) -> Array:
    """Where nothing is known yet: nearness to the middle, so that the first scan is an ordinary one."""
    away = np.linalg.norm(places - places.mean(0), axis=1)
    return np.asarray(1 + away.max(initial=0) - away)
