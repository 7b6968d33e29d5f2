"""A distance of other people's tables that knows nothing of boundaries."""

from __future__ import annotations

from typing import Any

import numpy as np

from fewmask.errors import DataError


def row_set_distance(prediction: Any, reference: Any) -> float:
    """What the tables of SemiGDA and KnowSAM call 95HD: the Hausdorff distance of two sets of image rows, times 0.95.

    Each row is taken for one point with as many coordinates as there are columns, so the distance of two rows is the square root of the
    number of pixels in which they differ:

        0.95 max(max_i min_j |a_i - b_j|, max_j min_i |a_i - b_j|)

    It is at most 0.95 sqrt(columns), 14.2 for 224, and a mask moved up or down has distance 0. Comparable with the papers at 224 x 224
    only. Where they write 0 for an empty mask, this is the formula's value.

    Args:
        prediction: bool or integer ``(H, W)``; what is not 0 is the mask.
        reference: likewise, of the same shape.

    Raises:
        DataError: the masks are not 2D, or of different shapes.
    """
    first, second = (np.asarray(mask) != 0 for mask in (prediction, reference))
    if first.ndim != 2 or first.shape != second.shape:
        raise DataError(f"hd_rowset compares 2D masks of one shape, but these have {first.shape} and {second.shape}")
    first, second = (np.unique(mask, axis=0).astype(np.float32) for mask in (first, second))
    squares = first.sum(1)[:, None] + second.sum(1) - 2 * first @ second.T  # counts of pixels: exact in float32
    return float(0.95 * np.sqrt(max(squares.min(1).max(), squares.min(0).max())))
