"""The 3D U-Net of the semi-supervised field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fewmask.diffusion.embedding import TimeMLP
from fewmask.errors import ConfigError
from fewmask.networks.base import register
from fewmask.networks.blocks import (
    NormName,
    UpStep,
    channel_dropout,
    conv,
    conv_stack,
    transposed_conv,
    up_steps,
    upsample,
)
from fewmask.networks.conditioning import spread
from fewmask.networks.encoder_decoder import Decoded, Encoder, EncoderDecoder
from fewmask.networks.high_frequency_mamba import HFMConfig

_CENTRE_RATE, _LAST_RATE = 0.3, 0.3
_PYRAMID_RATES = (0.5, 0.3, 0.2, 0.1)


@register("unet-3d")
class UNet3D(EncoderDecoder):
    """3D U-Net (Cicek et al., MICCAI 2016) in the form of the field's benchmarks.

    Two convolutions (kernel 3, instance norm without affine part, ReLU) per level of 16 to 256 channels, max-pooling,
    trilinear upsampling (corners not aligned), concatenated skips, Kaiming initialisation.

    Args:
        dims: 3.
        in_channels: channels of the image.
        num_classes: classes with the background.
        width: channels of the first level; doubles per level.
        norm: instance as published; batch, group or none.
        dropout: none given: the published rates, element-wise 0.3 at the centre and before the output, or with
            ``pyramid`` channel-wise 0.5, 0.3, 0.2, 0.1 after the decoder's stages, deep to shallow. A number replaces
            each of them.
        decoders: the up-step of each decoder: transposed (0), linear (1) or nearest (2). A number: so many linear ones.
        pyramid: one head per decoder stage, all upsampled to full size, as URPC trains it (Luo et al., MICCAI 2021):
            four logits, full resolution first; 5 884 504 parameters with one channel and two classes.
        heads: extra outputs by name with their channels.
        time: the network is told a diffusion step per image: a code of ``width`` values (sines and cosines of as many rates, two
            linear maps with GELU between ``4 width``) is added to the first level's features, once.
        hfm: high-frequency Mamba modules behind stages of the encoder.

    Raises:
        ConfigError: the images are not 3D, an unknown norm or up-step, or a pyramid with several decoders.
    """

    spatial_dims = (3,)
    idea = "3D U-Net with instance norm; the usual choice for BraTS"
    start = "kaiming"

    def __init__(
        self,
        dims: int,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 16,
        norm: NormName = "instance",
        dropout: float | None = None,
        decoders: Sequence[str | int] | int = 1,
        pyramid: bool = False,
        heads: Mapping[str, int] | None = None,
        time: bool = False,
        hfm: HFMConfig | None = None,
    ) -> None:
        steps = up_steps(decoders, "linear")
        if pyramid and len(steps) > 1:
            raise ConfigError(
                f"a pyramid of heads needs one decoder, but decoders lists {len(steps)}; drop one of the two options"
            )
        # The pyramid has its dropouts in the decoder only.
        centre = 0.0 if pyramid else _CENTRE_RATE if dropout is None else dropout
        super().__init__(
            dims,
            in_channels,
            num_classes,
            encoder=UNet3DEncoder(in_channels, width, norm, centre),
            decoders=[
                UNet3DDecoder(num_classes, width, norm, dropout=dropout, pyramid=pyramid, step=step) for step in steps
            ],
            width=width,
            heads=heads,
            time=TimeMLP(width + width % 2, 4 * width, width, "gelu") if time else None,
            hfm=hfm,
        )


class UNet3DEncoder(Encoder):
    """Five levels of two convolutions, max-pooling between them, dropout at the centre."""

    def __init__(self, in_channels: int, width: int, norm: NormName, dropout: float) -> None:
        super().__init__()
        widths = [in_channels, *(width * 2**level for level in range(5))]
        self.blocks = nn.ModuleList(conv_stack(3, a, b, norm, 2) for a, b in pairwise(widths))
        self.pool = nn.MaxPool3d(2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, image: Tensor, code: Tensor | None = None) -> list[Tensor]:
        """Image ``(B, C, *S)`` to five feature maps, shallow to deep."""
        first = self.blocks[0](image)
        features = [self.behind(1, first if code is None else first + spread(code, 3))]
        for stage, block in enumerate(self.blocks[1:], start=2):
            features.append(self.behind(stage, block(self.pool(features[-1]))))
        features[-1] = self.dropout(features[-1])
        return features


class UNet3DDecoder(nn.Module):
    """Four stages of upsampling, concatenation and two convolutions, with one or four heads."""

    def __init__(
        self, num_classes: int, width: int, norm: NormName, *, dropout: float | None, pyramid: bool, step: UpStep
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in (4, 3, 2, 1, 0)]
        self.ups = nn.ModuleList(_up(channels, step) for channels in widths[:-1])
        self.blocks = nn.ModuleList(conv_stack(3, a + b, b, norm, 2) for a, b in pairwise(widths))
        self.dropouts = _dropouts(dropout, pyramid)
        self.outputs = nn.ModuleList([conv(3, width, num_classes, 1)])
        for level in range(1, 4 if pyramid else 1):
            head = conv(3, width * 2**level, num_classes, 1)
            self.outputs.append(nn.Sequential(head, upsample(3, "linear", 2**level, align_corners=False)))

    def forward(self, features: Sequence[Tensor], code: Tensor | None = None) -> Decoded:
        """Five feature maps, shallow to deep, to logits and features; the code is in them already."""
        x, clean = features[-1], features[-1]
        stages: list[Tensor] = []
        parts = zip(self.ups, self.blocks, self.dropouts, reversed(features[:-1]), strict=True)
        for up, block, dropout, skip in parts:
            clean = block(torch.cat([skip, up(x)], 1))
            x = dropout(clean)
            stages.insert(0, x)
        logits = [output(stage) for output, stage in zip(self.outputs, stages, strict=False)]
        return Decoded(logits, half=stages[1], before_dropout=clean, last=x)


def _up(channels: int, step: UpStep) -> nn.Module:
    """Twice the resolution; the published one, linear, has no weights."""
    return transposed_conv(3, channels, channels) if step == "transposed" else upsample(3, step, align_corners=False)


def _dropouts(dropout: float | None, pyramid: bool) -> nn.ModuleList:
    """One layer per decoder stage, deep to shallow."""
    if pyramid:
        return nn.ModuleList(channel_dropout(3, rate if dropout is None else dropout) for rate in _PYRAMID_RATES)
    last = nn.Dropout(_LAST_RATE if dropout is None else dropout)
    return nn.ModuleList([nn.Identity(), nn.Identity(), nn.Identity(), last])
