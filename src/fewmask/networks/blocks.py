"""Layers by number of spatial dimensions, and the ways to double the resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from fewmask.errors import ConfigError, nearest
from fewmask.networks.conditioning import Chain, shifted

NormName = Literal["batch", "instance", "group", "none"]
UpStep = Literal["transposed", "linear", "nearest", "cubic"]

# The field numbers the up-steps in this order; a decoder may be asked for by name or by number.
UP_STEPS: tuple[UpStep, ...] = ("transposed", "linear", "nearest", "cubic")

_GROUPS = 8
_LINEAR = {2: "bilinear", 3: "trilinear"}


def conv(
    dims: int, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, bias: bool = True
) -> nn.Module:
    """A convolution; odd kernels are padded to keep the size, even ones are not padded."""
    layer = nn.Conv2d if dims == 2 else nn.Conv3d
    padding = kernel // 2 if kernel % 2 else 0
    return layer(in_channels, out_channels, kernel, stride, padding=padding, bias=bias)


def transposed_conv(dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """A transposed convolution of kernel 2 and stride 2: doubles every side."""
    layer = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
    return layer(in_channels, out_channels, 2, 2)


def norm_layers(name: NormName, dims: int, channels: int) -> list[nn.Module]:
    """The normalisation as a list of no or one layer.

    Instance norm has no affine part. Group norm makes 8 groups, or as many as divide the channels.

    Raises:
        ConfigError: ``name`` is none of the valid ones.
    """
    if name == "batch":
        return [nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm3d(channels)]
    if name == "instance":
        return [nn.InstanceNorm2d(channels) if dims == 2 else nn.InstanceNorm3d(channels)]
    if name == "group":
        return [nn.GroupNorm(math.gcd(_GROUPS, channels), channels)]
    if name == "none":
        return []
    raise ConfigError(f"there is no norm named {name!r}: {nearest(name, ('batch', 'instance', 'group', 'none'))}")


def channel_dropout(dims: int, p: float) -> nn.Module:
    """Dropout of whole channels; active in train mode, to which Monte-Carlo passes may set it alone."""
    return nn.Dropout2d(p) if dims == 2 else nn.Dropout3d(p)


def conv_norm_relu(
    dims: int,
    in_channels: int,
    out_channels: int,
    norm: NormName,
    *,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = True,
) -> nn.Sequential:
    """Convolution, norm, ReLU."""
    layer = conv(dims, in_channels, out_channels, kernel, stride=stride, bias=bias)
    return nn.Sequential(layer, *norm_layers(norm, dims, out_channels), nn.ReLU(inplace=True))


def conv_stack(
    dims: int, in_channels: int, out_channels: int, norm: NormName, repeats: int, *, code: int | None = None
) -> Chain:
    """``repeats`` times `conv_norm_relu`; the first changes the number of channels. With a code of that length, it shifts all but the last."""
    widths = [in_channels, *[out_channels] * repeats]
    layers = [conv_norm_relu(dims, a, b, norm) for a, b in pairwise(widths)]
    return Chain(*(shifted(layer, out_channels, code) for layer in layers[:-1]), layers[-1])


def leaky_block(in_channels: int, out_channels: int, norm: NormName, dropout: float) -> nn.Sequential:
    """Two times 2D convolution, norm, LeakyReLU(0.01), with element-wise dropout between them."""

    def half(channels: int) -> list[nn.Module]:
        return [
            conv(2, channels, out_channels, 3),
            *norm_layers(norm, 2, out_channels),
            nn.LeakyReLU(0.01, inplace=True),
        ]

    between = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*half(in_channels), *between, *half(out_channels))


def upsample(dims: int, step: UpStep, factor: int = 2, align_corners: bool = True) -> nn.Upsample:
    """Interpolation by a factor; ``align_corners`` matters for the linear and cubic kinds only.

    Raises:
        ConfigError: cubic interpolation of a volume.
    """
    if step == "nearest":
        return nn.Upsample(scale_factor=factor, mode="nearest")
    if step == "cubic" and dims == 3:
        raise ConfigError(
            "cubic upsampling exists for 2D images only; use transposed, linear or nearest decoders in 3D"
        )
    return nn.Upsample(
        scale_factor=factor, mode=_LINEAR[dims] if step == "linear" else "bicubic", align_corners=align_corners
    )


def up_steps(decoders: Sequence[str | int] | int, own: UpStep) -> list[UpStep]:
    """The up-step of each decoder, given by name or by its number in `UP_STEPS`; a number of decoders alone means so many like a family's own.

    Raises:
        ConfigError: there is no decoder, or an unknown up-step.
    """
    if isinstance(decoders, int) and decoders > 0:
        return [own] * decoders
    if isinstance(decoders, str | int) or not decoders:
        raise ConfigError(f"decoders must be a list of one or more of {', '.join(UP_STEPS)}, but is {decoders!r}")
    return [_up_step(step) for step in decoders]


def _up_step(step: str | int) -> UpStep:
    for number, name in enumerate(UP_STEPS):
        if step in (number, name):
            return name
    raise ConfigError(f"there is no up-step {step!r}: {nearest(str(step), UP_STEPS)}")
