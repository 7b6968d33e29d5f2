"""The high-frequency Mamba module: what is fine in a feature map, seen as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.config import Section
from fewmask.errors import ConfigError
from fewmask.networks.blocks import conv, conv_norm_relu
from fewmask.networks.high_pass import MaskName, high_pass
from fewmask.networks.mamba import TriOrientatedMamba
from fewmask.networks.selective_scan import ScanName


class HFMConfig(Section):
    """Where the modules stand and what they are made of."""

    stages: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(
        (4,), description="encoder stages (1 to 5) behind which a module stands, before the skip and the next stage"
    )
    mask: MaskName = Field(
        "box", description="how the distance from zero frequency is measured: largest axis, radius, or share of volume"
    )
    cutoff: float = Field(
        0.6, ge=0, le=1, description="frequencies below it are removed; 0: none, 1: all but the highest"
    )
    soft_width: float = Field(0.0, ge=0, le=1, description="width of the edge below the cut-off; 0: a hard edge")
    gsc_fuse: Literal["sum", "product"] = Field(
        "sum", description="how the gated spatial convolution joins its branches"
    )
    merge: Literal["add", "replace", "concat"] = Field(
        "add", description="the result is added to the features, takes their place, or joins them by a 1x1 convolution"
    )
    d_state: int = Field(16, ge=1, description="states per channel of the selective scan")
    d_conv: int = Field(4, ge=1, description="width of the causal convolution")
    expand: int = Field(2, ge=1, description="inner channels of the Mamba per channel")
    mlp_ratio: int = Field(2, ge=1, description="hidden channels of the MLP per channel")
    slice_axis: int = Field(-1, ge=-3, le=2, description="spatial axis whose planes are the slices; -1: the last")
    scan: ScanName = Field(
        "auto", description="auto: mamba-ssm's kernels where they are installed and a GPU computes, else chunked"
    )


class HighFrequencyMamba(nn.Module):
    """The HFM of Diff-CL (Guo et al., 2025), Eq. (10), around a feature map ``f (B, c, *S)``.

        u = GSC(high_pass(f)),   v = ToM(LN(u)) + u,   o = MLP(LN(v)) + v,   out = f + o

    With the default settings and 128 channels it has 1 137 280 parameters. In 2D the columns of the image play the part
    of slices: one of the three orders goes along the rows, two along the columns.

    Args:
        dims: 2 or 3.
        channels: c.
        config: see `HFMConfig`; ``stages`` matters to the network around it.

    Raises:
        ConfigError: the images have no such slice axis.
    """

    def __init__(self, dims: int, channels: int, config: HFMConfig) -> None:
        super().__init__()
        if not -dims <= config.slice_axis < dims:
            raise ConfigError(
                f"hfm.slice_axis is {config.slice_axis}, but the images have {dims} axes; use -1, the last"
            )
        self.config = config
        self.slice_axis = 2 + config.slice_axis % dims
        self.attention = GatedSpatialConv(dims, channels, config.gsc_fuse)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.mamba = TriOrientatedMamba(
            channels, d_state=config.d_state, d_conv=config.d_conv, expand=config.expand, backend=config.scan
        )
        hidden = config.mlp_ratio * channels
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
        self.join = conv(dims, 2 * channels, channels, 1) if config.merge == "concat" else None

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(B, c, *S)`` to features of the same shape and type.

        Raises:
            ConfigError: the grid has a single voxel, over which nothing can be normalised.
        """
        if features.shape[2:].numel() == 1:
            raise ConfigError(
                "a high-frequency Mamba module got a single voxel; use an earlier stage or larger patches"
            )
        fine = high_pass(features, self.config.cutoff, self.config.mask, self.config.soft_width)
        found = self.refine(self.attention(fine.to(features.dtype)))
        if self.join is not None:
            joined: Tensor = self.join(torch.cat([features, found], 1))
            return joined
        return found if self.config.merge == "replace" else features + found

    def refine(self, u: Tensor) -> Tensor:
        """Mamba and MLP over the voxels as tokens, slice after slice."""
        planes = u.movedim(self.slice_axis, 2)
        tokens = planes.flatten(2).transpose(1, 2)
        tokens = self.mamba(self.norms[0](tokens), planes.shape[2]) + tokens
        tokens = self.mlp(self.norms[1](tokens)) + tokens
        refined: Tensor = tokens.transpose(1, 2).reshape(planes.shape).movedim(2, self.slice_axis)
        return refined


class GatedSpatialConv(nn.Module):
    """The gated spatial convolution of SegMamba: two branches of receptive fields 5 and 1, fused, around a residual.

    Args:
        dims: 2 or 3.
        channels: kept.
        fuse: ``sum`` as in the released code, ``product`` as in the paper.
    """

    def __init__(self, dims: int, channels: int, fuse: Literal["sum", "product"]) -> None:
        super().__init__()

        def block(kernel: int) -> nn.Module:
            return conv_norm_relu(dims, channels, channels, "instance", kernel=kernel)

        self.fuse = fuse
        self.wide = nn.Sequential(block(3), block(3))
        self.gate, self.last = block(1), block(1)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, c, *S)`` to the same shape."""
        wide, gate = self.wide(x), self.gate(x)
        refined: Tensor = self.last(wide + gate if self.fuse == "sum" else wide * gate)
        return refined + x
