"""The contract that every network keeps, the table of networks, and how a config becomes one."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from fewmask.config import NetworkConfig
from fewmask.errors import ConfigError, nearest
from fewmask.registry import Registry
from fewmask.task import Task


class NetworkOutput(NamedTuple):
    """All that one pass computes.

    Attributes:
        logits: one ``(B, K, *S)`` per decoder (or per scale, full resolution first); ``forward`` returns the first.
        heads: the extra heads by name, ``(B, channels, *S)``, without an activation.
        taps: inner feature maps by name; see the family for which.
    """

    logits: list[Tensor]
    heads: dict[str, Tensor]
    taps: dict[str, Tensor]


class Network(nn.Module, ABC):
    """Base of all networks: image ``(B, C, *S)`` to logits ``(B, K, *S)``.

    Every network is built as ``(dims, in_channels, num_classes, *, width, norm, dropout, <its own options>)``; what is
    keyword-only has the published value as its default.

    Args:
        dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: classes with the background.

    Attributes:
        spatial_dims: the dimensions that it is defined for.
        stride: every side of the image must be a multiple of it.
        idea: itself in one line.

    Raises:
        ConfigError: the network is not defined for ``dims``.
    """

    spatial_dims: ClassVar[tuple[int, ...]] = (2, 3)
    stride: ClassVar[int] = 16
    idea: ClassVar[str] = ""

    def __init__(self, dims: int, in_channels: int, num_classes: int) -> None:
        super().__init__()
        if dims not in self.spatial_dims:
            supported = " and ".join(f"{d}D" for d in self.spatial_dims)
            others = ", ".join(name for name in NETWORKS if dims in NETWORKS[name].spatial_dims)
            raise ConfigError(
                f"{type(self).__name__} is a {supported} network but the images are {dims}D; "
                f"set network.name to one that supports them: {others or 'there is none'}"
            )
        self.dims = dims
        self.in_channels = in_channels
        self.num_classes = num_classes

    @abstractmethod
    def forward_all(self, image: Tensor, time: Tensor | None = None) -> NetworkOutput:
        """Every decoder, head and tap of images ``(B, C, *S)``; ``time``: diffusion steps ``(B,)``, for networks built to take them."""

    def forward(self, image: Tensor, time: Tensor | None = None) -> Tensor:
        """Logits ``(B, K, *S)`` of the first decoder for images ``(B, C, *S)``.

        Raises:
            ConfigError: see `check_image`.
        """
        return self.forward_all(image, time).logits[0]

    def check_image(self, image: Tensor) -> None:
        """Refuse images that the network cannot take.

        Raises:
            ConfigError: wrong number of axes or channels, or a side that is not a multiple of `stride`; the text names
                the nearest valid sizes.
        """
        if image.ndim != self.dims + 2 or image.shape[1] != self.in_channels:
            axes = ", ".join(["batch", str(self.in_channels), *(["side"] * self.dims)])
            raise ConfigError(f"{type(self).__name__} takes images of shape ({axes}), but got {tuple(image.shape)}")
        wrong = [side for side in image.shape[2:] if side % self.stride]
        if wrong:
            advice = ", ".join(f"{_neighbours(side, self.stride)} instead of {side}" for side in dict.fromkeys(wrong))
            raise ConfigError(
                f"{type(self).__name__} needs every side to be a multiple of {self.stride}, but the patch is "
                f"{' x '.join(str(side) for side in image.shape[2:])}; use {advice}"
            )


def _neighbours(side: int, stride: int) -> str:
    below = side // stride * stride
    return f"{below} or {below + stride}" if below else str(stride)


NETWORKS: Registry[Network] = Registry("network")
register = NETWORKS.register

DEFAULT_NAMES = {2: "unet-2d", 3: "vnet"}


def network_name(task: Task, config: NetworkConfig) -> str:
    """The network that a config means for a task: the one it names, or the usual one of these dimensions."""
    return config.name or DEFAULT_NAMES[task.spatial_dims]


def build_network(
    task: Task,
    config: NetworkConfig,
    *,
    in_channels: int | None = None,
    out_channels: int | None = None,
    **options: Any,
) -> Network:
    """The network that a config names, freshly initialised under torch's global seed.

    Args:
        task: gives dimensions, channels and classes.
        config: name, width, norm and dropout; without a name it is ``vnet`` in 3D and ``unet-2d`` in 2D.
        in_channels: none: the image's; a method may put something beside the image.
        out_channels: none: the classes; a method may want something else.
        options: what a method needs of the family besides, such as ``decoders`` or ``heads``.

    Raises:
        ConfigError: unknown name, dimensions that the network is not defined for, or an option that it does not have.
    """
    name = network_name(task, config)
    kind: Callable[..., Network] = NETWORKS[name]
    valid = [p.name for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in valid:
            raise ConfigError(f"network {name} has no option {option!r}: {nearest(option, valid)}")
    settings = {"width": config.width, "norm": config.norm, "dropout": config.dropout}
    chosen = {key: value for key, value in settings.items() if value is not None}
    channels = (in_channels or task.in_channels, out_channels or task.num_classes)
    return kind(task.spatial_dims, *channels, **(chosen | options))
