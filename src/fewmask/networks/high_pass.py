"""What remains of a feature map without its low spatial frequencies."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fewmask.networks.precision import full_precision

MaskName = Literal["box", "radial", "volume"]

# Frequencies right on the cut-off pass, whatever the last bit of a root or quotient.
_TOLERANCE = 1e-9


def high_pass(features: Tensor, cutoff: float, mask: MaskName = "box", soft_width: float = 0.0) -> Tensor:
    """Remove the frequencies below a cut-off, channel by channel: ``Re(iFFT(H FFT(f)))`` over all spatial axes.

    Shifting the spectrum, masking and shifting it back is the same as masking with the mask shifted back, and a mask
    that is the same for a frequency and its negative needs only half of a real map's spectrum. Computed in float32 (in
    float64 for float64 features), also under autocast: half-precision transforms take powers of two only.

    Args:
        features: ``(B, C, *S)``, real.
        cutoff: see `high_pass_mask`.
        mask: see `high_pass_mask`.
        soft_width: see `high_pass_mask`.

    Returns:
        ``(B, C, *S)``, float32 or float64.
    """
    sides = tuple(features.shape[2:])
    axes = tuple(range(2, features.ndim))
    kept = np.fft.ifftshift(high_pass_mask(sides, cutoff, mask, soft_width))[..., : sides[-1] // 2 + 1]
    exact = full_precision(features)
    weight = torch.from_numpy(np.ascontiguousarray(kept)).to(exact.device, exact.dtype)
    filtered: Tensor = torch.fft.irfftn(torch.fft.rfftn(exact, dim=axes) * weight, s=sides, dim=axes)
    return filtered


@functools.lru_cache(maxsize=64)
def high_pass_mask(
    sides: tuple[int, ...], cutoff: float, mask: MaskName = "box", soft_width: float = 0.0
) -> npt.NDArray[np.float64]:
    """What each frequency is multiplied by, zero frequency in the middle as after ``fftshift``.

    With ``k`` the integer frequency of an axis of ``n`` voxels, ``nu = 2 |k| / n`` lies between 0 (the mean) and 1 (from
    voxel to voxel). Removed is what lies below ``cutoff``:

        box: max_a nu_a    radial: sqrt(mean_a nu_a^2)    volume: (max_a nu_a)^dims, the share of the spectrum's volume

    Args:
        sides: the grid, one or more axes.
        cutoff: 0 removes nothing, anything above it removes the mean.
        mask: how the distance of a frequency from zero is measured.
        soft_width: 0: a hard edge. Else the mask falls from 1 at the threshold to 0 this far below it, as half a
            cosine; ``nu`` is measured as above, for ``volume`` by its threshold ``cutoff^(1 / dims)``.

    Returns:
        float64 of shape ``sides``, between 0 and 1; read-only.
    """
    axes = [np.abs(np.arange(-(n // 2), n - n // 2)) * (2.0 / n) for n in sides]
    nu = np.stack(np.meshgrid(*axes, indexing="ij"))
    distance = np.sqrt((nu**2).mean(0)) if mask == "radial" else nu.max(0)
    threshold = cutoff ** (1 / len(axes)) if mask == "volume" else cutoff
    below = np.maximum(threshold - _TOLERANCE - distance, 0.0)
    fallen = np.minimum(below / soft_width, 1.0) if soft_width > 0 else below > 0
    kept: npt.NDArray[np.float64] = 0.5 + 0.5 * np.cos(np.pi * fallen)
    kept.flags.writeable = False
    return kept
