"""The way back: maps on a prepared grid, slab by slab onto the scan's own grid.

Whole volumes of every class need not be in memory at once: planes of the first axis come in as they are done, and go
out in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from fewmask.data.crop import slices
from fewmask.data.orientation import reorient
from fewmask.data.record import Record
from fewmask.data.resample import Shape

Slab = tuple[int, np.ndarray]


def scan_view(values: np.ndarray, record: Record) -> np.ndarray:
    """What the crop kept of maps on the scan's own grid, in the axes of the prepared image.

    Args:
        values: ``(K, *S)`` of the scan.
        record: what was done to the scan.

    Returns:
        ``(K, *C)``, a view: what is written into it is written into ``values``.
    """
    return reorient(values, record.axes)[(slice(None), *slices(record.crop))]


def resampled_slabs(slabs: Iterable[Slab], shape: Shape, target: Shape) -> Iterator[Slab]:
    """Linear interpolation, as `resample.resample_image` without smoothing, of a volume that comes in slabs.

    Axis by axis and the first one last, so the result does not depend, in any bit, on how the volume was cut.

    Args:
        slabs: the index of the first plane, and ``(K, planes, *P[1:])``; in order and without gaps.
        shape: ``(*P)`` of the whole volume.
        target: ``(*C)`` of the result.

    Yields:
        The index of the first plane, and ``(K, planes, *C[1:])`` float32; the slabs as they are where the shape stays.
    """
    if shape == target:
        yield from slabs
        return
    lower, upper, share = _places(shape[0], target[0])
    done, before = 0, 0  # planes of the result that are out; planes of the last slab that are kept
    kept: np.ndarray | None = None
    for first, slab in slabs:
        values = slab.astype(np.float32, copy=False)
        for axis in range(1, len(shape)):
            values = _between(values, axis + 1, *_places(shape[axis], target[axis]))
        if kept is not None:
            values, before = np.concatenate([kept, values], axis=1), 1
        base, stop = first - before, first + slab.shape[1]
        ready = slice(done, int(np.searchsorted(upper, stop)))
        if ready.start < ready.stop:
            yield done, _between(values, 1, lower[ready] - base, upper[ready] - base, share[ready])
        done, kept = ready.stop, values[:, -1:].copy()


def _places(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two old voxels around each new one, and the share of the second; half-pixel centres, borders go on."""
    places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    lower = np.floor(places).astype(np.intp)
    return lower, np.minimum(lower + 1, old - 1), (places - lower).astype(np.float32)


def _between(values: np.ndarray, axis: int, lower: np.ndarray, upper: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Linear interpolation along one axis of ``(K, *S)``."""
    share = share.reshape(-1, *[1] * (values.ndim - axis - 1))
    mixed = values.take(lower, axis)
    mixed *= 1 - share
    mixed += share * values.take(upper, axis)
    return mixed
