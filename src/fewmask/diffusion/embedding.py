"""How a network is told the diffusion step."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn


def sinusoidal_embedding(t: Tensor, size: int, longest: float = 10000.0) -> Tensor:
    """``[sin(t w_0), ..., sin(t w_n), cos(t w_0), ..., cos(t w_n)]``, ``w_i = longest^(-i / n)``, ``n = size / 2 - 1``.

    Args:
        t: steps ``(B,)``.
        size: even.
        longest: the period of the slowest pair, over 2 pi.

    Returns:
        ``(B, size)`` float32.
    """
    half = size // 2
    rates = torch.exp(-math.log(longest) / max(half - 1, 1) * torch.arange(half, device=t.device, dtype=torch.float32))
    angles = t.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class TimeMLP(nn.Module):
    """Sinusoidal embedding, linear, activation, linear: steps ``(B,)`` to codes ``(B, out)``.

    Args:
        size: of the embedding.
        hidden: features between the linear maps.
        out: features of the code.
        activation: silu, or gelu.
    """

    def __init__(self, size: int, hidden: int, out: int, activation: Literal["silu", "gelu"] = "silu") -> None:
        super().__init__()
        self.size = size
        middle = nn.SiLU() if activation == "silu" else nn.GELU()
        self.layers = nn.Sequential(nn.Linear(size, hidden), middle, nn.Linear(hidden, out))

    def forward(self, t: Tensor) -> Tensor:
        """Codes of steps."""
        code: Tensor = self.layers(sinusoidal_embedding(t, self.size))
        return code
