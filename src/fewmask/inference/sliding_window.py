"""Images of any size through a network of a fixed patch size: overlapping windows, averaged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fewmask.errors import ConfigError, DataError, RunError, nearest
from fewmask.inference.rolling_sum import RollingSum, window

WEIGHTINGS = ("uniform", "gaussian")


def window_starts(side: int, patch: int, stride: int) -> list[int]:
    """First voxels of the windows along one axis: multiples of the stride, the last window flush with the border.

    There are ``ceil((side - patch) / stride) + 1`` of them; together they cover every voxel.

    Args:
        side: voxels of the image along the axis; at least ``patch``.
        patch: voxels of a window.
        stride: voxels between two windows.

    Raises:
        ConfigError: the stride is below 1 or leaves gaps, or the patch is below 1 or larger than the side.
    """
    if not 1 <= patch <= side:
        raise ConfigError(
            f"a window of {patch} voxels does not fit a side of {side}; pad the image or take a smaller patch_size"
        )
    if not 1 <= stride <= patch:
        raise ConfigError(
            f"inference.stride {stride} must lie between 1 and the patch's {patch} voxels, or windows leave gaps"
        )
    count = math.ceil((side - patch) / stride) + 1
    return [min(index * stride, side - patch) for index in range(count)]


def default_stride(patch: Sequence[int]) -> tuple[int, ...]:
    """Half the patch."""
    return tuple(max(side // 2, 1) for side in patch)


def axis_weights(patch: int, weighting: str) -> Tensor:
    """How much a window counts along one axis, float32 of ``patch`` values in (0, 1].

    The weight of a voxel is the product over its axes. A Gaussian has a standard deviation of an eighth of the patch,
    so its smallest value is above exp(-8): no voxel ever has weight zero.
    """
    if weighting == "uniform":
        return torch.ones(patch)
    distance = torch.arange(patch) - (patch - 1) / 2
    return torch.exp(-0.5 * (distance / (patch / 8)) ** 2)


def _checked(
    image: Tensor, patch_size: Sequence[int], stride: Sequence[int], weighting: str, window_batch: int
) -> None:
    dims = image.ndim - 1
    if dims not in (2, 3):
        raise DataError(
            f"an image of shape {tuple(image.shape)} cannot be predicted; give (channels, *spatial) in 2D or 3D"
        )
    if min(image.shape) < 1:
        raise DataError(f"an image of shape {tuple(image.shape)} has no voxels; check the file it came from")
    for name, value in (("sampling.patch_size", patch_size), ("inference.stride", stride)):
        if len(value) != dims:
            raise ConfigError(
                f"{name} {tuple(value)} has {len(value)} values, but the image has {dims} axes; give one per axis"
            )
    if weighting not in WEIGHTINGS:
        raise ConfigError(f"there is no inference.weighting {weighting!r}: {nearest(weighting, WEIGHTINGS)}")
    if window_batch < 1:
        raise ConfigError(f"inference.window_batch must be at least 1, but is {window_batch}")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; afterwards every submodule has its own mode back, a frozen part too."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _predict(predictor: nn.Module, windows: Tensor, corners: Sequence[tuple[int, ...]], flips: bool) -> Tensor:
    """Probabilities ``(B, K, *patch)`` of windows ``(B, C, *patch)``; ``flips``: averaged over all mirrors."""
    total = _run(predictor, windows, corners)
    if not flips:
        return total
    axes = range(2, windows.ndim)
    mirrors = [chosen for count in range(1, len(axes) + 1) for chosen in itertools.combinations(axes, count)]
    for mirrored in mirrors:
        total = total + _run(predictor, windows.flip(mirrored), corners).flip(mirrored)
    return total / (1 + len(mirrors))


def _run(predictor: nn.Module, windows: Tensor, corners: Sequence[tuple[int, ...]]) -> Tensor:
    placed = getattr(predictor, "takes_corners", False)
    output: Tensor = (predictor(windows, corners) if placed else predictor(windows)).float()
    if output.ndim != windows.ndim or output.shape[2:] != windows.shape[2:] or len(output) != len(windows):
        raise RunError(
            f"the predictor turned windows of shape {tuple(windows.shape)} into {tuple(output.shape)}; "
            "it must keep the patch size"
        )
    return output


def _pad(image: Tensor, patch_size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """The image with centred zeros up to the patch size, and where it lies in them; an odd voxel goes to the end."""
    missing = [max(0, patch - side) for side, patch in zip(image.shape[1:], patch_size, strict=True)]
    inside = tuple(slice(lack // 2, lack // 2 + side) for side, lack in zip(image.shape[1:], missing, strict=True))
    if any(missing):
        image = F.pad(image, [width for lack in reversed(missing) for width in (lack // 2, lack - lack // 2)])
    return image, inside


@torch.no_grad()
def probability_slabs(
    image: Tensor,
    predictor: nn.Module,
    patch_size: Sequence[int],
    stride: Sequence[int],
    *,
    weighting: str = "uniform",
    window_batch: int = 1,
    flips: bool = False,
    device: torch.device | str | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """`sliding_window`, slab by slab along the first axis: the whole volume's probabilities are never in memory.

    A slab comes as soon as no later window can change it. Beside the image only the sums of ``patch_size[0]`` planes are
    kept: K x patch x (the other sides) floats.

    Args, errors: as `sliding_window`.

    Yields:
        The index of the slab's first plane, and its class probabilities ``(K, planes, *S[1:])`` float32; together, in
        order, they are bit for bit what `sliding_window` returns. A slab is overwritten when the next one is asked for.
    """
    _checked(image, patch_size, stride, weighting, window_batch)
    padded, inside = _pad(image.float(), patch_size)
    sides = padded.shape[1:]
    starts = [window_starts(*sizes) for sizes in zip(sides, patch_size, stride, strict=True)]
    profiles = [axis_weights(patch, weighting).to(image.device) for patch in patch_size]
    corners = itertools.product(*starts)
    total: RollingSum | None = None
    with evaluating(predictor):
        while batch := list(itertools.islice(corners, window_batch)):
            windows = [padded[(slice(None), *window(corner, patch_size))] for corner in batch]
            there = torch.stack(windows).to(device or image.device)
            output = _predict(predictor, there, batch, flips).to(image.device)
            del there
            total = total or RollingSum(output.shape[1], sides, profiles, starts)
            for corner, probabilities in zip(batch, output, strict=True):
                yield from _unpadded(total.finish(corner[0]), inside)
                total.add(corner, probabilities)
            del output, probabilities  # not to be held while the next windows are in the network
        assert total is not None  # there is always a window
        yield from _unpadded(total.finish(sides[0]), inside)


def _unpadded(slabs: Iterator[tuple[int, Tensor]], inside: Sequence[slice]) -> Iterator[tuple[int, Tensor]]:
    """The part of each slab that lies in the image."""
    for first, slab in slabs:
        low, high = max(inside[0].start - first, 0), min(inside[0].stop - first, slab.shape[1])
        if low < high:
            yield first + low - inside[0].start, slab[(slice(None), slice(low, high), *inside[1:])]


def sliding_window(
    image: Tensor,
    predictor: nn.Module,
    patch_size: Sequence[int],
    stride: Sequence[int],
    *,
    weighting: str = "uniform",
    window_batch: int = 1,
    flips: bool = False,
    device: torch.device | str | None = None,
) -> Tensor:
    """Class probabilities of a whole image, 2D or 3D, of any size.

    The image is padded with centred zeros to the patch size where it is smaller, windows stand at multiples of the
    stride with the last one flush with the border, and what they say of a voxel is averaged: with ``uniform`` weights
    this is the inference of the field's papers, bit for bit.

    Args:
        image: ``(C, *S)``.
        predictor: ``(B, C, *patch)`` to probabilities ``(B, K, *patch)``; runs in evaluation mode. One that has an attribute
            ``takes_corners`` that is true is also told each window's first voxels, to see one noise, say, in all windows.
        patch_size: voxels per axis of a window.
        stride: voxels per axis between two windows, from 1 to the patch size.
        weighting: ``uniform``, or ``gaussian`` (a window's centre counts most; see `axis_weights`).
        window_batch: windows that go through the predictor at once.
        flips: average over the mirrored copies of each window along every combination of axes, mirrored back.
        device: where the predictor runs; none: where the image lies. Sums are kept where the image lies.

    Returns:
        ``(K, *S)`` float32 where the image lies; sums to 1 over K as the predictor's outputs do. It is as large as K
        images: `probability_slabs` gives the same piece by piece.

    Raises:
        ConfigError: a stride leaves gaps, or settings do not fit the image's axes.
        DataError: the image is empty or is neither 2D nor 3D.
        RunError: the predictor changes the patch size.
    """
    whole: Tensor | None = None
    for first, slab in probability_slabs(
        image,
        predictor,
        patch_size,
        stride,
        weighting=weighting,
        window_batch=window_batch,
        flips=flips,
        device=device,
    ):
        if whole is None:
            whole = slab.new_empty((len(slab), *image.shape[1:]))
        whole[:, first : first + slab.shape[1]] = slab
    assert whole is not None  # the slabs cover the image
    return whole


def most_likely(probabilities: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The class of the largest of ``(K, *S)`` probabilities, ``(*S)``; the lowest class at a tie."""
    return np.asarray(probabilities.argmax(0), dtype=np.uint8)
