"""A discriminator: was this map of this image found where there were labels?"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fewmask.networks.blocks import channel_dropout


class Discriminator(nn.Module):
    """Four convolutions of kernel 4 and stride 2 over a map beside its image, to two logits: not labelled, labelled.

    Map and image have a first convolution each, whose outputs are added; LeakyReLU(0.2) follows every convolution, channel dropout all but
    the last. What is left is averaged over space. 11 020 290 parameters in 3D with one channel each and width 64.

    Args:
        dims: 2 or 3.
        map_channels: of the map.
        image_channels: of the image.
        width: channels after the first convolution; doubles with each of the others.
        dropout: share of channels dropped in train mode.
    """

    def __init__(
        self, dims: int, map_channels: int, image_channels: int, *, width: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        layer = nn.Conv2d if dims == 2 else nn.Conv3d
        self.of_map = layer(map_channels, width, 4, 2, 1)
        self.of_image = layer(image_channels, width, 4, 2, 1)
        self.deeper = nn.ModuleList(layer(width * 2**k, width * 2 ** (k + 1), 4, 2, 1) for k in range(3))
        self.dropout = channel_dropout(dims, dropout)
        self.output = nn.Linear(width * 8, 2)

    def forward(self, found: Tensor, image: Tensor) -> Tensor:
        """Logits ``(B, 2)`` of maps ``(B, M, *S)`` and their images ``(B, C, *S)``."""
        x = self.of_map(found) + self.of_image(image)
        for layer in self.deeper:
            x = layer(self.dropout(F.leaky_relu(x, 0.2)))
        logits: Tensor = self.output(F.leaky_relu(x, 0.2).flatten(2).mean(2))
        return logits
