"""Counting parameters and multiply-adds, without computing anything."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode


class Macs(NamedTuple):
    """Multiply-adds of one forward pass.

    Attributes:
        convolutions: those of convolutions and matrix products, half of what torch's own counter calls operations.
        published: what the papers' tables print; see `count_macs`.
    """

    convolutions: int
    published: int


def count_parameters(network: nn.Module) -> int:
    """The number of trainable values."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def count_macs(network: nn.Module, input_shape: Sequence[int]) -> Macs:
    """Multiply-adds of one pass in eval mode, found from shapes alone (on torch's meta device).

    Papers of this field print the figure of the profiler thop, whose rule is, per output value of a layer:

    - convolution: ``in_channels / groups * kernel volume``, and 1 for a bias;
    - transposed convolution: the same, though most of these products do not exist: with kernel and stride 2 only one
      of the kernel's positions reaches an output value, so it counts 8 times too much in 3D;
    - normalisation: 2; linear layer: ``in_features``; activation, dropout, pooling, interpolation and sums: nothing.

    The V-Net at 1 x 1 x 112 x 112 x 80 has 40.11 G in convolutions and 47.10 G as published; together with the
    ResNet-34 V-Net it has 126.84 G by this rule, where the papers print 126.95 G (0.1 % more, of unknown origin).

    Args:
        network: left as it is.
        input_shape: ``(B, C, *S)``.
    """
    ghost = copy.deepcopy(network).to("meta").eval()
    published = [0]

    def add(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        published[0] += output.numel() * _per_output(module)

    for module in ghost.modules():
        if _per_output(module):
            module.register_forward_hook(add)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost(torch.empty(tuple(input_shape), device="meta"))
    return Macs(counter.get_total_flops() // 2, published[0])


def _per_output(module: nn.Module) -> int:
    if isinstance(module, _ConvNd):
        return module.in_channels // module.groups * math.prod(module.kernel_size) + (module.bias is not None)
    if isinstance(module, nn.Linear):
        return module.in_features
    return 2 if isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm) else 0
