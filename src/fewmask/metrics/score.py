"""The named metrics of one pair of masks, with rules for empty ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fewmask.errors import ConfigError, DataError
from fewmask.metrics.overlap import dice, jaccard
from fewmask.metrics.surface import BoolArray, surface_distances

Status = Literal["found", "absent", "missed", "spurious"]
Metrics = dict[str, float | None]

OVERLAPS = ("dice", "jaccard")
DISTANCES = ("hd95", "hd95_directed", "asd", "assd")

EXTRAS = ("hd_rowset",)  # on request

DEFINITIONS = {
    "surface": "the mask's voxels that its face-connected erosion removes; outside the image is background",
    "dice": "2 |P and R| / (|P| + |R|)",
    "jaccard": "|P and R| / |P or R|",
    "hd95": "95th percentile of the surface distances of both directions pooled (as medpy)",
    "hd95_directed": "larger of the 95th percentiles of the two directions (as MONAI)",
    "asd": "mean distance from the prediction's surface to the reference's (as medpy)",
    "assd": "mean of the surface distances of both directions pooled (as medpy 0.5 on; older ones averaged two means)",
    "hd_rowset": "0.95 x the Hausdorff distance of the sets of image rows, 2D: the column 95HD of SemiGDA's tables, no boundary distance",
    "nsd@t": "share of the surface voxels of both masks that lie within t of the other surface",
    "pooled": "Dice and Jaccard of the voxels of all cases together, as if they were one",
    "empty masks": "both: absent, left out of the means; one: overlaps and nsd 0, distances the image's diagonal",
}


@dataclass(frozen=True)
class Score:
    """The comparison of two masks.

    Attributes:
        status: ``found`` both masks hold something; ``absent`` neither does; ``missed`` only the reference does;
            ``spurious`` only the prediction does.
        metrics: by the names in `metric_names`; all None where absent.
        voxels: of the prediction, of the reference and of both.
    """

    status: Status
    metrics: Metrics
    voxels: tuple[int, int, int] = (0, 0, 0)


def metric_names(nsd_tolerance: float | None = None, also: Sequence[str] = ()) -> tuple[str, ...]:
    """The metrics in their order; the surface Dice carries its tolerance, as in ``nsd@2``; ``also`` are some of `EXTRAS`."""
    return (*OVERLAPS, *DISTANCES, *(() if nsd_tolerance is None else (f"nsd@{nsd_tolerance:g}",)), *also)


def score(
    prediction: Any, reference: Any, spacing: Sequence[float] | None = None, nsd_tolerance: float | None = None
) -> Metrics:
    """The metrics of one binary pair; `DEFINITIONS` says what each is.

    Args:
        prediction: bool or integer ``(*S)``, 2D or 3D; what is not 0 is the mask.
        reference: likewise, of the same shape.
        spacing: length of a voxel per axis, usually in millimetres; None: distances in voxels.
        nsd_tolerance: also give the surface Dice at this distance.

    Returns:
        Metric name to value: overlaps in [0, 1], distances in the unit of ``spacing``. Never NaN: where both masks are
        empty every value is None; where one is, overlaps are 0 and distances are the diagonal of the image.

    Raises:
        DataError: the shapes differ, are not 2D or 3D, the values are not integers, or the spacing does not fit.
        ConfigError: the tolerance is negative.
    """
    return score_pair(prediction, reference, spacing, nsd_tolerance).metrics


def score_pair(
    prediction: Any, reference: Any, spacing: Sequence[float] | None = None, nsd_tolerance: float | None = None
) -> Score:
    """As `score`, with the status of the pair."""
    predicted, true, lengths = _checked(prediction, reference, spacing, nsd_tolerance)
    first, second = predicted != 0, true != 0
    box = _union_box(first, second)
    return _score_box(first[box], second[box], lengths, _diagonal(true.shape, lengths), nsd_tolerance)


def score_labels(
    prediction: Any,
    reference: Any,
    num_classes: int,
    spacing: Sequence[float] | None = None,
    nsd_tolerance: float | None = None,
) -> dict[int, Score]:
    """Every foreground class of two label maps, each inside its own box, so that many small organs cost little.

    Args:
        prediction: integer ``(*S)``, 2D or 3D.
        reference: likewise, of the same shape.
        num_classes: classes with the background; the values 1 to ``num_classes - 1`` are scored.
        spacing: as for `score`.
        nsd_tolerance: as for `score`.

    Raises:
        DataError, ConfigError: as for `score`.
    """
    from scipy.ndimage import find_objects

    predicted, true, lengths = _checked(prediction, reference, spacing, nsd_tolerance)
    diagonal = _diagonal(true.shape, lengths)
    count = max(num_classes - 1, 0)
    boxes = zip(find_objects(predicted, count), find_objects(true, count), strict=True) if count else ()
    scores = {}
    for value, (first, second) in enumerate(boxes, start=1):
        box = _join(first, second, true.ndim)
        scores[value] = _score_box(predicted[box] == value, true[box] == value, lengths, diagonal, nsd_tolerance)
    return scores


def _score_box(
    prediction: BoolArray,
    reference: BoolArray,
    spacing: tuple[float, ...],
    diagonal: float,
    nsd_tolerance: float | None,
) -> Score:
    """The score of two masks cropped to any box that holds both; ``diagonal`` is that of the whole image."""
    names = metric_names(nsd_tolerance)
    predicted, true = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    if not predicted and not true:
        return Score("absent", dict.fromkeys(names))
    if not predicted or not true:
        return Score(
            "spurious" if predicted else "missed",
            {name: diagonal if name in DISTANCES else 0.0 for name in names},
            (predicted, true, 0),
        )
    both = int(np.count_nonzero(prediction & reference))
    forth, back = surface_distances(prediction, reference, spacing)
    pooled = np.concatenate((forth, back))
    metrics: Metrics = {
        "dice": dice(predicted, true, both),
        "jaccard": jaccard(predicted, true, both),
        "hd95": float(np.percentile(pooled, 95)),
        "hd95_directed": float(max(np.percentile(forth, 95), np.percentile(back, 95))),
        "asd": float(forth.mean()),
        "assd": float(pooled.mean()),
    }
    if nsd_tolerance is not None:
        metrics[names[-1]] = float(np.mean(pooled <= nsd_tolerance))
    return Score("found", metrics, (predicted, true, both))


def _checked(
    prediction: Any, reference: Any, spacing: Sequence[float] | None, nsd_tolerance: float | None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[float, ...]]:
    predicted, true = (_integers(array, name) for array, name in ((prediction, "prediction"), (reference, "reference")))
    if predicted.shape != true.shape:
        raise DataError(
            f"the prediction has shape {predicted.shape}, the reference {true.shape}; both must be on one grid"
        )
    if true.ndim not in (2, 3):
        raise DataError(f"masks must be 2D or 3D, not of shape {true.shape}; drop channel and batch axes first")
    lengths = (1.0,) * true.ndim if spacing is None else tuple(float(length) for length in spacing)
    if len(lengths) != true.ndim or not all(0 < length < np.inf for length in lengths):
        raise DataError(
            f"spacing {lengths} does not fit masks of shape {true.shape}; give one positive length per axis"
        )
    if nsd_tolerance is not None and not 0 <= nsd_tolerance < np.inf:
        raise ConfigError(f"the surface Dice tolerance is {nsd_tolerance}; give a distance of 0 or more")
    return predicted, true, lengths


def _integers(array: Any, name: str) -> np.ndarray[Any, Any]:
    values = np.asarray(array)
    if values.dtype.kind not in "biu":
        raise DataError(
            f"the {name} holds {values.dtype} values; turn them into a bool or integer mask first, e.g. by a threshold"
        )
    return values.view(np.uint8) if values.dtype.kind == "b" else values


def _diagonal(shape: tuple[int, ...], spacing: tuple[float, ...]) -> float:
    """From corner to corner of the image, voxels counted whole."""
    return float(np.linalg.norm(np.multiply(shape, spacing)))


def _union_box(first: BoolArray, second: BoolArray) -> tuple[slice, ...]:
    """The smallest box that holds both masks (no voxel at all where both are empty), axis by axis on what is left."""
    box: list[slice] = []
    for axis in range(first.ndim):
        others = tuple(other for other in range(first.ndim) if other != axis)
        filled = np.flatnonzero(first.any(axis=others) | second.any(axis=others))
        part = slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0)
        box.append(part)
        cut = (slice(None),) * axis + (part,)
        first, second = first[cut], second[cut]
    return tuple(box)


def _join(first: tuple[slice, ...] | None, second: tuple[slice, ...] | None, dims: int) -> tuple[slice, ...]:
    """The box around two boxes, either of which may be missing."""
    if first is None or second is None:
        return first or second or (slice(0, 0),) * dims
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
