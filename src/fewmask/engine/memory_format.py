"""How the feature maps of a training lie in memory: channel after channel, or all channels of a voxel side by side."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.instancenorm import _InstanceNorm

from fewmask.config import TrainConfig

CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def lays_channels_last(method: nn.Module, config: TrainConfig) -> bool:
    """Whether a method's networks are to train channels-last.

    With ``auto`` they do under 16-bit precision, where convolutions are a third faster so, unless a network has group or instance
    norm: these kernels are slow in this layout, and on a CPU the one of group norm is off by 1e-3 in float32. Float32 stays contiguous,
    so that its losses are those of plain torch to the last bit.
    """
    if config.memory_format != "auto":
        return config.memory_format == "channels_last"
    by_sample = any(isinstance(part, nn.GroupNorm | _InstanceNorm) for part in method.modules())
    return config.precision != "fp32" and not by_sample


def lay_out(method: nn.Module, config: TrainConfig, dims: int) -> None:
    """Give the weights of a method's convolutions their layout, in place; feature maps follow that of the weights."""
    if lays_channels_last(method, config):
        method.to(memory_format=CHANNELS_LAST[dims])  # type: ignore[call-overload]  # torch leaves it out of the overloads
