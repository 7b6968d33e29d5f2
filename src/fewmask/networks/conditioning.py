"""Feature maps that are shifted by a code: how a network learns the diffusion step."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def spread(code: Tensor, dims: int) -> Tensor:
    """A vector per sample ``(B, C)`` as a map ``(B, C, 1, ...)`` to be added to feature maps."""
    return code[(..., *[None] * dims)]


class Shifted(nn.Module):
    """A layer whose output is shifted, channel by channel, by a linear map of the code.

    Args:
        layer: features to features ``(B, channels, *S)``.
        code: length of the code.
        channels: of the layer's output.
    """

    def __init__(self, layer: nn.Module, code: int, channels: int) -> None:
        super().__init__()
        self.layer = layer
        self.shift = nn.Linear(code, channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """``layer(x) + W code + b``, the same at every place."""
        y: Tensor = self.layer(x)
        return y + spread(self.shift(code), y.ndim - 2)


class Chain(nn.Sequential):
    """Layers one after another; the code goes to those that take one."""

    def forward(self, x: Any, code: Tensor | None = None) -> Any:
        """Features through all layers."""
        for layer in self:
            x = run(layer, x, code)
        return x


def run(layer: nn.Module, x: Tensor, code: Tensor | None) -> Tensor:
    """A layer's output, with the code where it takes one."""
    y: Tensor = layer(x, code) if isinstance(layer, Shifted | Chain) else layer(x)
    return y


def shifted(layer: nn.Module, channels: int, code: int | None) -> nn.Module:
    """The layer itself without a code, else `Shifted`."""
    return layer if code is None else Shifted(layer, code, channels)
