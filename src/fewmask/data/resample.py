"""Images and label maps on a coarser or finer grid that covers the same space.

Both grids share their outer edges, so voxel ``j`` of the new axis has its centre at ``(j + 0.5) * old / new - 0.5`` of
the old one; beyond the centres of the border voxels the border value goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

Shape = tuple[int, ...]
LONGEST = 2**31  # voxels of an axis; more fit nowhere
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def target_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> Shape:
    """Voxels per axis that come closest to the target spacing over the same extent, at least one, and at most `LONGEST`."""
    exact = (n * old / new for n, old, new in zip(shape, spacing, target, strict=True))
    return tuple(max(1, round(min(side, LONGEST))) for side in exact)


def resampled_affine(affine: np.ndarray, shape: Sequence[int], new_shape: Sequence[int]) -> np.ndarray:
    """The (4, 4) affine of the new grid; exact, also where the target spacing does not divide the extent."""
    change = np.eye(4)
    for axis, (old, new) in enumerate(zip(shape, new_shape, strict=True)):
        factor = old / new
        change[axis, axis] = factor
        change[axis, 3] = (factor - 1) / 2
    return np.asarray(affine @ change)


def _interpolate(values: np.ndarray, shape: Shape, mode: str) -> np.ndarray:
    # torch's half-pixel interpolation is scipy's zoom(order=1, grid_mode=True, mode="nearest"), several times faster.
    batch = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None]
    aligned = {} if mode == "nearest-exact" else {"align_corners": False}
    return np.asarray(F.interpolate(batch, size=shape, mode=mode, **aligned)[0].numpy())


def resample_image(values: np.ndarray, shape: Shape, smooth: bool = True) -> np.ndarray:
    """Linear interpolation of every channel.

    Args:
        values: ``(C, *S)``.
        shape: voxels per axis of the result.
        smooth: where an axis shrinks by a factor f, first a Gaussian of (f - 1) / 2 voxels, so that fine detail fades
            rather than turning into false coarse detail.

    Returns:
        ``(C, *shape)`` float32; ``values`` itself, bit by bit, where the shape stays.
    """
    old = values.shape[1:]
    if old == tuple(shape):
        return values
    sigmas = [max(0.0, (side / new - 1) / 2) for side, new in zip(old, shape, strict=True)]
    if smooth and any(sigmas):
        from scipy.ndimage import gaussian_filter

        values = gaussian_filter(np.asarray(values, dtype=np.float32), (0, *sigmas), mode="nearest")
    return _interpolate(values, shape, _LINEAR[len(shape)])


def resample_label(labels: np.ndarray, shape: Shape) -> np.ndarray:
    """The class whose linearly interpolated mask is highest; at a tie, the class of the nearest voxel.

    Ties are common: halving an axis puts every new voxel between two old ones. Giving them to the lower class, as a
    plain argmax does, shrinks the foreground; halved tubes of radius 10, 4 and 2.2 voxels lose 4, 10 and 21 % of their
    volume, with this rule 0.3, 3 and 9 %. Nearest neighbour alone loses even less, but its borders lie up to half a
    voxel off (a left atrium halved and brought back: Dice 0.962, against 0.970). Smoothing first, as for images, wears
    thin structures away.

    Args:
        labels: ``(*S)`` uint8.
        shape: voxels per axis of the result.

    Returns:
        ``(*shape)`` uint8; ``labels`` itself where the shape stays.
    """
    if labels.shape == tuple(shape):
        return labels
    nearest = _interpolate(labels[None], shape, "nearest-exact")[0].astype(np.uint8)
    best: np.ndarray = nearest.copy()
    highest = np.full(shape, -1.0, dtype=np.float32)
    for value in np.unique(labels):  # one class at a time: memory does not grow with the number of classes
        score = _interpolate((labels == value)[None], shape, _LINEAR[len(shape)])[0]
        score += np.float32(1e-3) * (nearest == value)
        higher = score > highest
        best[higher], highest[higher] = value, score[higher]
    return best
