"""Small trainable blocks that lead an encoder's features into the levels of a frozen decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

AdapterMode = Literal["replace", "residual"]


class SkipAdapters(nn.Module):
    """One block a level: a decoder's and an encoder's features to what the decoder goes on with.

    Args:
        widths: channels of the levels, the same in decoder and encoder.
        groups: of the norms.
        mode: ``replace``: the block's result takes the decoder's features' place; ``residual``: it is added to them, and is zero
            at the beginning.
    """

    def __init__(self, widths: Sequence[int], groups: int, mode: AdapterMode = "replace") -> None:
        super().__init__()
        self.added = mode == "residual"
        blocks = [AdapterBlock(width, groups) for width in widths]
        self.blocks = nn.ModuleList(blocks)
        for block in blocks if self.added else ():
            for parameter in (*block.layers[-1].parameters(), *block.shortcut.parameters()):
                nn.init.zeros_(parameter)

    def fuse(self, level: int, features: Tensor, skip: Tensor) -> Tensor:
        """Decoder features and skip of a level, ``(B, C, *S)`` each, to ``(B, C, *S)``."""
        adapted: Tensor = self.blocks[level](torch.cat([features, skip], 1))
        return features + adapted if self.added else adapted


class AdapterBlock(nn.Module):
    """Two pre-activated convolutions from twice the channels to the channels, beside a 1x1 shortcut."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(groups, 2 * channels, eps=1e-6),
            nn.SiLU(),
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels, eps=1e-6),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, 2 C, *S)`` to ``(B, C, *S)``."""
        result: Tensor = self.layers(x) + self.shortcut(x)
        return result
