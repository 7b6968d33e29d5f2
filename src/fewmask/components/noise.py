"""Input noise for consistency."""

from __future__ import annotations

import torch
from torch import Tensor


def consistency_noise(images: Tensor, std: float = 0.1) -> Tensor:
    """``images`` plus voxel-wise Gaussian noise of the given standard deviation, clipped at twice that."""
    return images + (torch.randn_like(images) * std).clamp(-2 * std, 2 * std)
