"""Drawing a network's weights anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from fewmask.errors import ConfigError, nearest

M = TypeVar("M", bound=nn.Module)

_DRAW: dict[str, Callable[[Tensor], Tensor]] = {"kaiming": nn.init.kaiming_normal_, "xavier": nn.init.xavier_normal_}


def initialise(network: M, how: Literal["kaiming", "xavier"]) -> M:
    """Draw the weights of all convolutions from a normal distribution, and set norms to scale 1 and shift 0.

    Kaiming: variance ``2 / fan_in`` (He et al., ICCV 2015). Xavier: ``2 / (fan_in + fan_out)`` (Glorot & Bengio,
    AISTATS 2010). Transposed convolutions are drawn too, with the fans swapped, as torch counts them; biases of
    convolutions stay as they are. The draw follows torch's global generator, so a seed fixes it.

    Args:
        network: changed in place.
        how: the distribution.

    Returns:
        ``network``.

    Raises:
        ConfigError: ``how`` is neither.
    """
    if how not in _DRAW:
        raise ConfigError(f"there is no initialisation named {how!r}: {nearest(how, _DRAW)}")
    for module in network.modules():
        if isinstance(module, _ConvNd):
            _DRAW[how](module.weight)
        elif isinstance(module, nn.GroupNorm | _NormBase) and module.affine:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    return network


def without_decay(value: Tensor) -> nn.Parameter:
    """A parameter that weight decay leaves alone: the engine's optimisers look for this mark."""
    parameter = nn.Parameter(value)
    parameter._no_weight_decay = True  # type: ignore[attr-defined]  # the mark that mamba-ssm uses, too
    return parameter


def decays(parameter: nn.Parameter) -> bool:
    """Whether weight decay may shrink a parameter."""
    return not getattr(parameter, "_no_weight_decay", False)
