"""Boxes around what is not empty in an image, found without a label."""

from __future__ import annotations

import numpy as np

Box = tuple[tuple[int, int], ...]

_COARSE = 128  # voxels per axis that are enough to find a body


def whole(shape: tuple[int, ...]) -> Box:
    """The box that keeps everything; a box is (start, stop) per axis."""
    return tuple((0, side) for side in shape)


def slices(box: Box) -> tuple[slice, ...]:
    """The box as an index into an array of its axes."""
    return tuple(slice(start, stop) for start, stop in box)


def bounding_box(mask: np.ndarray) -> Box | None:
    """The smallest box that holds every true voxel; none where there is none."""
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(filled):
            return None
        box.append((int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def otsu_threshold(values: np.ndarray) -> float | None:
    """The threshold, of 256 levels, that splits values into two groups with most variance between them (Otsu, 1979).

    Half a per cent of the values at either end is clipped: a metal clip must not decide. None where nothing differs.
    """
    low, high = (float(bound) for bound in np.percentile(values, (0.5, 99.5)))
    if not low < high:
        return None
    counts, edges = np.histogram(np.clip(values, low, high), bins=256, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts)[:-1], counts.sum()
    sums = np.cumsum(counts * centres)
    means_below = sums[:-1] / below  # the lowest bin holds the minimum, the highest the maximum: neither count is zero
    means_above = (sums[-1] - sums[:-1]) / (total - below)
    between = below * (total - below) * (means_below - means_above) ** 2
    return float(edges[1 + int(np.argmax(between))])


def _body(image: np.ndarray) -> Box | None:
    """The largest component of a smoothed image above Otsu's threshold; channels count equally."""
    from scipy import ndimage

    steps = [-(-side // _COARSE) for side in image.shape[1:]]
    coarse = image[(slice(None), *(slice(None, None, step) for step in steps))].astype(np.float64)
    scales = coarse.std(axis=tuple(range(1, coarse.ndim)), keepdims=True)
    smooth = ndimage.gaussian_filter((coarse / np.where(scales > 0, scales, 1)).mean(axis=0), 1.0, mode="nearest")
    threshold = otsu_threshold(smooth)
    if threshold is None:
        return None
    components, _ = ndimage.label(smooth > threshold)
    sizes = np.bincount(components.ravel())
    if len(sizes) < 2:
        return None
    box = bounding_box(components == 1 + int(np.argmax(sizes[1:])))
    if box is None:
        return None
    # A border may lie anywhere between two coarse voxels: the box reaches just short of the next one.
    return tuple(((start - 1) * step + 1, stop * step) for (start, stop), step in zip(box, steps, strict=True))


def find_box(image: np.ndarray, how: str, margin: int) -> Box:
    """The box to keep of an image, never empty.

    Args:
        image: ``(C, *S)``, finite.
        how: ``none``; ``nonzero``: voxels where any channel differs from 0; ``body``: the largest bright component.
        margin: voxels left around the box, as far as the image goes.

    Returns:
        (start, stop) per axis; the whole image where there is nothing to crop to.
    """
    shape = image.shape[1:]
    found = None
    if how == "nonzero":
        found = bounding_box((image != 0).any(axis=0))
    elif how == "body":
        found = _body(image)
    if found is None:
        return whole(shape)
    return tuple(
        (max(0, start - margin), min(side, stop + margin)) for (start, stop), side in zip(found, shape, strict=True)
    )
