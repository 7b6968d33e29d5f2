"""From the latent of an image to that of its mask, at the latent's resolution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LatentMapping(nn.Module):
    """Residual units with spatial self-attention, put together as a U-Net without down-sampling.

    After Generative Medical Segmentation (Huo et al., 2024), whose mapping SemiGDA takes over: with the defaults 1 556 464 parameters.

    Args:
        channels: of the latent.
        width: of the first block.
        multipliers: widths of the blocks over ``width``.
    """

    def __init__(self, channels: int = 4, width: int = 32, multipliers: Sequence[int] = (1, 2, 4, 4)) -> None:
        super().__init__()
        widths = [width, *(width * factor for factor in multipliers)]
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(AttendingUnit(a, b) for a, b in pairwise(widths))
        inner = [widths[-1], *reversed(widths[1:-1])]  # of what comes from below, deepest first
        self.up = nn.ModuleList(
            AttendingUnit(skip + below, skip) for skip, below in zip(reversed(widths[:-1]), inner, strict=True)
        )
        self.head = nn.Sequential(_norm(width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1, bias=False))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, latent: Tensor) -> Tensor:
        """Latents ``(B, Z, *S)`` to latents of the same shape."""
        features = [self.stem(latent)]
        for unit in self.down:
            features.append(unit(features[-1]))
        x = features.pop()
        for unit in self.up:
            x = unit(torch.cat([features.pop(), x], 1))
        output: Tensor = self.head(x)
        return output


class AttendingUnit(nn.Module):
    """Two pre-activated convolutions beside a shortcut, then self-attention over all positions, added."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(*_half(in_channels, out_channels), *_half(out_channels, out_channels))
        self.shortcut = (
            nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )
        self.norm = _norm(out_channels)
        self.query, self.key, self.value, self.project = (nn.Conv2d(out_channels, out_channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, in, *S)`` to ``(B, out, *S)``."""
        x = self.block(x) + self.shortcut(x)
        calm = self.norm(x)
        query, key, value = (layer(calm).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        found = F.scaled_dot_product_attention(query, key, value)  # scaled by out^-1/2
        result: Tensor = x + self.project(found.transpose(1, 2).reshape(x.shape))
        return result


def _half(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [_norm(in_channels), nn.PReLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1)]


def _norm(channels: int) -> nn.GroupNorm:
    """Sixteen groups, or as many below as divide the channels."""
    return nn.GroupNorm(next(groups for groups in range(16, 0, -1) if channels % groups == 0), channels)
