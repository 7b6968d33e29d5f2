"""The U-Net of diffusion co-training: plain and wide, told the diffusion step once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fewmask.diffusion.embedding import TimeMLP
from fewmask.networks.base import register
from fewmask.networks.blocks import NormName, conv, conv_stack, leaky_block, transposed_conv, upsample
from fewmask.networks.conditioning import Chain, spread
from fewmask.networks.encoder_decoder import Decoded, Encoder, EncoderDecoder

_RATES = (0.05, 0.1, 0.2, 0.3, 0.4)
_FACTORS = (1, 1, 2, 4, 8)  # channels of the five levels, over the width


@register("diffusion-unet")
class DiffusionUNet(EncoderDecoder):
    """U-Net of Ciampi et al. (Computers in Biology and Medicine 2026), in 2D and 3D.

    Five levels of 1, 1, 2, 4 and 8 times ``width`` channels, two convolutions each, max-pooling between them, concatenated skips, a
    linear output convolution of kernel 3. In 2D the encoder has LeakyReLU(0.01) and dropout between its two convolutions, the up-step
    is a 1x1 convolution to the skip's width and bilinear interpolation (aligned corners); in 3D there is no dropout and the up-step
    is a transposed convolution. Weights start as torch's defaults.

    Its published width is 64: with the step, three image channels and two classes 7 411 458 parameters in 2D (mask beside image in,
    classes out), with one channel 26 725 058 in 3D.

    Args:
        dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: classes with the background.
        width: channels of the first two levels.
        norm: batch as published; instance, group or none.
        dropout: element-wise in the encoder; none given: as published, in 2D 0.05, 0.1, 0.2, 0.3, 0.4 and in 3D none. A number replaces
            each of the five, in 3D behind the level's convolutions.
        heads: extra outputs by name with their channels.
        time: the network is told a diffusion step per image: a code of ``width`` values (sines and cosines of as many rates, two
            linear maps with GELU between ``4 width``) is added to the first level's features, once.

    Raises:
        ConfigError: unknown norm.
    """

    idea = "wide plain U-Net of diffusion co-training, 2D and 3D"

    def __init__(
        self,
        dims: int,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 64,
        norm: NormName = "batch",
        dropout: float | None = None,
        heads: Mapping[str, int] | None = None,
        time: bool = False,
    ) -> None:
        published = _RATES if dims == 2 else (0.0,) * 5
        rates = published if dropout is None else (dropout,) * 5
        super().__init__(
            dims,
            in_channels,
            num_classes,
            encoder=DiffusionEncoder(dims, in_channels, width, norm, rates),
            decoders=[DiffusionDecoder(dims, num_classes, width, norm)],
            width=width,
            heads=heads,
            time=TimeMLP(width + width % 2, 4 * width, width, "gelu") if time else None,
        )


class DiffusionEncoder(Encoder):
    """Five levels of two convolutions, max-pooling between the levels."""

    def __init__(self, dims: int, in_channels: int, width: int, norm: NormName, rates: Sequence[float]) -> None:
        super().__init__()
        widths = [in_channels, *(width * factor for factor in _FACTORS)]
        self.blocks = nn.ModuleList(
            leaky_block(a, b, norm, rate) if dims == 2 else Chain(conv_stack(dims, a, b, norm, 2), nn.Dropout(rate))
            for (a, b), rate in zip(pairwise(widths), rates, strict=True)
        )
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)

    def forward(self, image: Tensor, code: Tensor | None = None) -> list[Tensor]:
        """Image ``(B, C, *S)`` to five feature maps, shallow to deep."""
        first = self.blocks[0](image)
        features = [self.behind(1, first if code is None else first + spread(code, image.ndim - 2))]
        for stage, block in enumerate(self.blocks[1:], start=2):
            features.append(self.behind(stage, block(self.pool(features[-1]))))
        return features


class DiffusionDecoder(nn.Module):
    """Four stages of up-step, concatenation and two convolutions, and the output convolution."""

    def __init__(self, dims: int, num_classes: int, width: int, norm: NormName) -> None:
        super().__init__()
        pairs = list(pairwise(width * factor for factor in reversed(_FACTORS)))
        self.ups = nn.ModuleList(_up(dims, a, b) for a, b in pairs)
        # In 3D the up-step keeps the width of the level below.
        self.blocks = nn.ModuleList(conv_stack(dims, (b if dims == 2 else a) + b, b, norm, 2) for a, b in pairs)
        self.output = conv(dims, width, num_classes, 3)

    def forward(self, features: Sequence[Tensor], code: Tensor | None = None) -> Decoded:
        """Five feature maps, shallow to deep, to logits and features; the code is in them already."""
        x, stages = features[-1], []
        for up, block, skip in zip(self.ups, self.blocks, reversed(features[:-1]), strict=True):
            x = block(torch.cat([skip, up(x)], 1))
            stages.append(x)
        return Decoded([self.output(x)], half=stages[-2], before_dropout=x, last=x)


def _up(dims: int, in_channels: int, out_channels: int) -> nn.Module:
    if dims == 3:
        return transposed_conv(3, in_channels, in_channels)
    return nn.Sequential(conv(2, in_channels, out_channels, 1), upsample(2, "linear"))
