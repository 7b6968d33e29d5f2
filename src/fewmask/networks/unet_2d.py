"""The 2D U-Net of the semi-supervised field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fewmask.diffusion.embedding import TimeMLP
from fewmask.errors import ConfigError
from fewmask.networks.base import register
from fewmask.networks.blocks import NormName, UpStep, conv, leaky_block, transposed_conv, up_steps, upsample
from fewmask.networks.conditioning import spread
from fewmask.networks.encoder_decoder import Decoded, Encoder, EncoderDecoder
from fewmask.networks.high_frequency_mamba import HFMConfig
from fewmask.networks.perturbations import attention_drop, feature_noise

_RATES = (0.05, 0.1, 0.2, 0.3, 0.5)


@register("unet-2d")
class UNet2D(EncoderDecoder):
    """2D U-Net (Ronneberger et al., MICCAI 2015) in the form of the field's benchmarks.

    A block is convolution, batch norm, LeakyReLU(0.01), dropout, and the first three again; 16 to 256 channels,
    max-pooling, a 1x1 convolution and bilinear upsampling (aligned corners), concatenated skips, a 3x3 output
    convolution. Weights start as torch's defaults.

    With one input channel and four classes it has 1 813 764 parameters.

    Args:
        dims: 2.
        in_channels: channels of the image.
        num_classes: classes with the background.
        width: channels of the first level; doubles per level.
        norm: batch as published; instance, group or none.
        dropout: none given: the published element-wise rates of the encoder's levels, 0.05, 0.1, 0.2, 0.3, 0.5. A
            number replaces each of them. The decoder has none.
        decoders: the up-step of each decoder: transposed (0), linear (1), nearest (2) or cubic (3). A number: so many linear ones.
        pyramid: one 3x3 head per decoder stage, as URPC trains it in 2D (Luo et al., Medical Image Analysis 2022): four
            logits at full size, full resolution first. In training the inputs of the lower three are perturbed: feature
            noise at 1/2, attention drop at 1/4, dropout 0.5 at 1/8 (a perturbation, which ``dropout`` does not change).
        heads: extra outputs by name with their channels.
        time: the network is told a diffusion step per image: a code of ``width`` values (sines and cosines of as many rates, two
            linear maps with GELU between ``4 width``) is added to the first level's features, once.
        hfm: high-frequency Mamba modules behind stages of the encoder.

    Raises:
        ConfigError: the images are not 2D, an unknown norm or up-step, or a pyramid with several decoders.
    """

    spatial_dims = (2,)
    idea = "2D U-Net with dropout that grows with depth; the field's 2D workhorse"

    def __init__(
        self,
        dims: int,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 16,
        norm: NormName = "batch",
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
        super().__init__(
            dims,
            in_channels,
            num_classes,
            encoder=UNet2DEncoder(in_channels, width, norm, dropout),
            decoders=[UNet2DDecoder(num_classes, width, norm, step, pyramid) for step in steps],
            width=width,
            heads=heads,
            time=TimeMLP(width + width % 2, 4 * width, width, "gelu") if time else None,
            hfm=hfm,
        )


class UNet2DEncoder(Encoder):
    """Five levels of two convolutions with dropout between them, max-pooling between the levels."""

    def __init__(self, in_channels: int, width: int, norm: NormName, dropout: float | None) -> None:
        super().__init__()
        widths = [in_channels, *(width * 2**level for level in range(5))]
        rates = _RATES if dropout is None else (dropout,) * 5
        self.blocks = nn.ModuleList(
            leaky_block(a, b, norm, p) for a, b, p in zip(widths[:-1], widths[1:], rates, strict=True)
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, image: Tensor, code: Tensor | None = None) -> list[Tensor]:
        """Image ``(B, C, H, W)`` to five feature maps, shallow to deep."""
        first = self.blocks[0](image)
        features = [self.behind(1, first if code is None else first + spread(code, 2))]
        for stage, block in enumerate(self.blocks[1:], start=2):
            features.append(self.behind(stage, block(self.pool(features[-1]))))
        return features


class UNet2DDecoder(nn.Module):
    """Four stages of up-step, concatenation and block, with one or four heads."""

    def __init__(self, num_classes: int, width: int, norm: NormName, step: UpStep, pyramid: bool) -> None:
        super().__init__()
        widths = [width * 2**level for level in (4, 3, 2, 1, 0)]
        pairs = list(pairwise(widths))
        self.ups = nn.ModuleList(_up(a, b, step) for a, b in pairs)
        self.blocks = nn.ModuleList(leaky_block(2 * b, b, norm, 0.0) for _, b in pairs)
        self.outputs = nn.ModuleList(conv(2, width * 2**level, num_classes, 3) for level in range(4 if pyramid else 1))

    def forward(self, features: Sequence[Tensor], code: Tensor | None = None) -> Decoded:
        """Five feature maps, shallow to deep, to logits and features; the code is in them already."""
        x = features[-1]
        stages: list[Tensor] = []
        for up, block, skip in zip(self.ups, self.blocks, reversed(features[:-1]), strict=True):
            x = block(torch.cat([skip, up(x)], 1))
            stages.insert(0, x)
        logits = [self._head(level, stage) for level, stage in enumerate(stages[: len(self.outputs)])]
        return Decoded(logits, half=stages[1], before_dropout=x, last=x)

    def _head(self, level: int, stage: Tensor) -> Tensor:
        if level and self.training:
            stage = _PERTURBATIONS[level](stage)
        logits: Tensor = self.outputs[level](stage)
        return nn.functional.interpolate(logits, scale_factor=2**level, mode="nearest") if level else logits


def _drop_half(features: Tensor) -> Tensor:
    return nn.functional.dropout(features, 0.5)


# By level: half, quarter and eighth of the resolution.
_PERTURBATIONS: dict[int, Callable[[Tensor], Tensor]] = {1: feature_noise, 2: attention_drop, 3: _drop_half}


def _up(in_channels: int, out_channels: int, step: UpStep) -> nn.Module:
    if step == "transposed":
        return transposed_conv(2, in_channels, out_channels)
    return nn.Sequential(conv(2, in_channels, out_channels, 1), upsample(2, step))
