"""A residual encoder whose levels fit the levels of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from fewmask.networks.blocks import NormName, norm_layers


class LatentEncoder(nn.Module):
    """A wide ResNet-34 without its last stage: images to the features of a latent's moments, and a feature map a level.

    With the sizes of Stable Diffusion's autoencoder 49 743 728 parameters, as SemiGDA's.

    Args:
        widths: channels of the levels; all but the first halve the sides.
        blocks: residual blocks of the levels behind the first; the last number also counts for all further ones.
        latent_channels: of the latent, ``Z``.
        norm: kind of normalisation.
        dropout: in the head.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int] = (3, 4, 6),
        latent_channels: int = 4,
        *,
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1), *norm_layers(norm, 2, widths[0]), nn.ReLU(inplace=True)
        )
        stages = []
        for level, (a, b) in enumerate(pairwise(widths)):
            count = blocks[min(level, len(blocks) - 1)]
            stages.append(
                nn.Sequential(ResidualBlock(a, b, norm, 2), *(ResidualBlock(b, b, norm) for _ in range(count - 1)))
            )
        self.stages = nn.ModuleList(stages)
        out = 2 * latent_channels
        self.head = nn.Sequential(
            nn.Conv2d(widths[-1], out, 3, padding=1),
            *norm_layers(norm, 2, out),
            nn.LeakyReLU(0.01),
            nn.Dropout(dropout),
            nn.Conv2d(out, out, 3, padding=1),
            *norm_layers(norm, 2, out),
            nn.LeakyReLU(0.01),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Images ``(B, 3, *S)`` to moments ``(B, 2 Z, *S / f)`` and the levels' features, full resolution first."""
        features = [self.stem(image)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return self.head(features[-1]), features


class ResidualBlock(nn.Module):
    """Two convolutions with norms beside a shortcut, which has a convolution of its own where the size changes."""

    def __init__(self, in_channels: int, out_channels: int, norm: NormName, stride: int = 1) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            *norm_layers(norm, 2, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            *norm_layers(norm, 2, out_channels),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), *norm_layers(norm, 2, out_channels)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, in, *S)`` to ``(B, out, *S / stride)``."""
        result: Tensor = self.relu(self.block(x) + self.shortcut(x))
        return result
