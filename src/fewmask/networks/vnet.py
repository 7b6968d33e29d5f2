"""The V-Net of the semi-supervised field: plain convolution blocks, additive skips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from fewmask.diffusion.embedding import TimeMLP
from fewmask.networks.base import register
from fewmask.networks.blocks import (
    NormName,
    UpStep,
    channel_dropout,
    conv,
    conv_norm_relu,
    conv_stack,
    norm_layers,
    transposed_conv,
    up_steps,
    upsample,
)
from fewmask.networks.conditioning import Chain, run, shifted
from fewmask.networks.encoder_decoder import Decoded, Encoder, EncoderDecoder
from fewmask.networks.high_frequency_mamba import HFMConfig

_RATES, _CODE = 128, 512  # of the diffusion V-Net's time embedding


@register("vnet")
class VNet(EncoderDecoder):
    """V-Net (Milletari et al., 3DV 2016) in the form that the field's benchmarks share.

    Blocks one to five hold 1, 2, 3, 3, 3 convolutions (kernel 3, norm, ReLU) of 16 to 256 channels with a stride-2
    convolution between two of them; the decoder's blocks six to nine hold 3, 3, 2, 1. The encoder's map is added to the
    up-step's. Unlike in the 2016 paper, no residual connection lies inside a block. Channel dropout follows blocks five
    and nine.

    With one input channel and two classes it has 9 448 866 parameters in 3D; 12 347 716 with the decoders
    ``transposed`` and ``linear``; 15 246 566 with ``nearest`` as a third. Weights start as torch's defaults.

    Args:
        dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: classes with the background.
        width: channels of the first level; doubles per level.
        norm: batch as published; instance, group or none.
        dropout: share of channels dropped in training after blocks five and nine.
        decoders: the up-step of each decoder: transposed (0), linear (1), nearest (2), in 2D also cubic (3). All but
            the transposed one are an interpolation and a convolution. A number: so many transposed ones.
        heads: extra outputs by name with their channels, on the first decoder's block nine.
        time: the network is told a diffusion step per image. A code of 512 values (sines and cosines of 128 rates, two linear
            maps with SiLU) shifts, by a linear map of its own, the output of every layer that changes the resolution and of every
            other layer that is not its block's last. The step comes after the ReLU, where no norm can undo it. 10 837 266
            parameters with three input channels and two classes in 3D.
        hfm: high-frequency Mamba modules behind stages of the encoder.

    Raises:
        ConfigError: unknown norm or up-step.
    """

    idea = "plain convolution blocks with added skips; the field's 3D workhorse"

    def __init__(
        self,
        dims: int,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 16,
        norm: NormName = "batch",
        dropout: float = 0.5,
        decoders: Sequence[str | int] | int = 1,
        heads: Mapping[str, int] | None = None,
        time: bool = False,
        hfm: HFMConfig | None = None,
    ) -> None:
        code = _CODE if time else None
        super().__init__(
            dims,
            in_channels,
            num_classes,
            encoder=self.build_encoder(dims, in_channels, width, norm, dropout, code=code),
            decoders=[
                VNetDecoder(dims, num_classes, width, norm=norm, dropout=dropout, step=step, code=code)
                for step in up_steps(decoders, "transposed")
            ],
            width=width,
            heads=heads,
            time=nn.Sequential(TimeMLP(_RATES, _CODE, _CODE), nn.SiLU()) if time else None,
            hfm=hfm,
        )

    @staticmethod
    def build_encoder(
        dims: int, in_channels: int, width: int, norm: NormName, dropout: float, *, code: int | None
    ) -> Encoder:
        """Image to five feature maps of ``width`` to ``16 width`` channels; what a variant of the V-Net replaces."""
        return VNetEncoder(dims, in_channels, width, norm, dropout, code=code)


class VNetEncoder(Encoder):
    """Blocks one to five; gives their outputs, the last one after dropout."""

    def __init__(
        self, dims: int, in_channels: int, width: int, norm: NormName, dropout: float, *, code: int | None = None
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.first = conv_stack(dims, in_channels, width, norm, 1)
        self.deeper = nn.ModuleList(
            Chain(
                shifted(conv_norm_relu(dims, a, b, norm, kernel=2, stride=2), b, code),
                conv_stack(dims, b, b, norm, repeats, code=code),
            )
            for a, b, repeats in zip(widths[:-1], widths[1:], (2, 3, 3, 3), strict=True)
        )
        self.dropout = channel_dropout(dims, dropout)

    def forward(self, image: Tensor, code: Tensor | None = None) -> list[Tensor]:
        """Image ``(B, C, *S)`` to five feature maps, shallow to deep."""
        features = [self.behind(1, self.first(image))]
        for stage, block in enumerate(self.deeper, start=2):
            features.append(self.behind(stage, block(features[-1], code)))
        features[-1] = self.dropout(features[-1])
        return features


class VNetDecoder(nn.Module):
    """Blocks six to nine and the output convolution."""

    def __init__(
        self,
        dims: int,
        num_classes: int,
        width: int,
        *,
        norm: NormName,
        dropout: float,
        step: UpStep,
        code: int | None = None,
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in (4, 3, 2, 1, 0)]
        self.ups = nn.ModuleList(shifted(up_block(dims, a, b, norm, step), b, code) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(
            conv_stack(dims, b, b, norm, repeats, code=code)
            for b, repeats in zip(widths[1:], (3, 3, 2, 1), strict=True)
        )
        self.dropout = channel_dropout(dims, dropout)
        self.output = conv(dims, width, num_classes, 1)

    def forward(self, features: Sequence[Tensor], code: Tensor | None = None) -> Decoded:
        """Five feature maps, shallow to deep, to logits and features."""
        x, stages = features[-1], []
        for up, block, skip in zip(self.ups, self.blocks, reversed(features[:-1]), strict=True):
            x = block(run(up, x, code) + skip, code)
            stages.append(x)
        last = self.dropout(x)
        return Decoded([self.output(last)], half=stages[-2], before_dropout=x, last=last)


def up_block(dims: int, in_channels: int, out_channels: int, norm: NormName, step: UpStep) -> nn.Sequential:
    """Twice the resolution: a transposed convolution, or interpolation and a convolution; then norm and ReLU."""
    if step == "transposed":
        up: list[nn.Module] = [transposed_conv(dims, in_channels, out_channels)]
    else:
        up = [upsample(dims, step), conv(dims, in_channels, out_channels, 3)]
    return nn.Sequential(*up, *norm_layers(norm, dims, out_channels), nn.ReLU(inplace=True))
