"""What the families with one encoder of five levels and one or more decoders share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from fewmask.errors import ConfigError
from fewmask.networks.base import Network, NetworkOutput
from fewmask.networks.blocks import conv
from fewmask.networks.high_frequency_mamba import HFMConfig, HighFrequencyMamba
from fewmask.networks.init import initialise


class Decoded(NamedTuple):
    """What a decoder gives.

    Attributes:
        logits: ``(B, K, *S)``, one per scale; full resolution first.
        half: its features at half resolution, ``(B, 2 width, *S / 2)``.
        before_dropout: its last features ``(B, width, *S)``.
        last: the same after dropout, as the output convolution sees them.
    """

    logits: list[Tensor]
    half: Tensor
    before_dropout: Tensor
    last: Tensor


class Encoder(nn.Module):
    """Image ``(B, C, *S)`` to five feature maps, shallow to deep; modules may be inserted behind its stages."""

    def __init__(self) -> None:
        super().__init__()
        self.inserted = nn.ModuleDict()

    def insert(self, stage: int, module: nn.Module) -> None:
        """Put a module that keeps the shape behind a stage (1 to 5): the skip and the next stage see what it gives."""
        self.inserted[str(stage)] = module

    def behind(self, stage: int, features: Tensor) -> Tensor:
        """What leaves a stage: its features, or what the module behind it makes of them."""
        name = str(stage)
        return self.inserted[name](features) if name in self.inserted else features


class EncoderDecoder(Network):
    """One encoder, decoders that differ in how they double the resolution, extra heads on the first decoder.

    Taps: ``encoder`` (level four, ``8 width`` channels at 1/8), ``bottleneck`` (level five after its dropout, ``16
    width`` at 1/16), ``half`` (``2 width`` at 1/2), ``before_dropout`` and ``last`` (``width`` at full resolution).
    The latter three are the first decoder's; those of the second are called ``half.1``, ``before_dropout.1`` and
    ``last.1``, and so on.

    Args:
        dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: classes with the background.
        encoder: image and code of the time, or None, to five feature maps, shallow to deep.
        decoders: each turns these five maps and the code into a `Decoded`.
        width: channels of the last features.
        heads: extra 1x1 convolutions by name, with their number of output channels; signed distances, say.
        time: diffusion steps ``(B,)`` to codes ``(B, length)``, for a network that is told the step.
        hfm: high-frequency Mamba modules behind stages of the encoder. They are drawn last, so that the other weights
            are those of the network without them.

    Attributes:
        start: how a family's weights are drawn, see `initialise`; None: as torch draws them.
    """

    start: ClassVar[Literal["kaiming", "xavier"] | None] = None

    def __init__(
        self,
        dims: int,
        in_channels: int,
        num_classes: int,
        *,
        encoder: Encoder,
        decoders: Sequence[nn.Module],
        width: int,
        heads: Mapping[str, int] | None,
        time: nn.Module | None = None,
        hfm: HFMConfig | None = None,
    ) -> None:
        super().__init__(dims, in_channels, num_classes)
        self.encoder = encoder
        self.decoders = nn.ModuleList(decoders)
        self.heads = nn.ModuleDict({name: conv(dims, width, channels, 1) for name, channels in (heads or {}).items()})
        self.time = time
        if self.start:
            initialise(self, self.start)
        if hfm:
            for stage in hfm.stages:
                encoder.insert(stage, HighFrequencyMamba(dims, width * 2 ** (stage - 1), hfm))

    def code(self, time: Tensor | None) -> Tensor | None:
        """What `encode` and `decode` are told of the diffusion steps ``(B,)``; None for a network without time.

        Raises:
            ConfigError: steps are given to a network that takes none, or none to one that needs them.
        """
        if (time is None) != (self.time is None):
            wants = "takes no diffusion step" if self.time is None else "needs the diffusion step of every image"
            raise ConfigError(f"this {type(self).__name__} {wants}: it was built with time={self.time is not None}")
        return None if self.time is None else self.time(time)

    def encode(self, image: Tensor, code: Tensor | None = None) -> list[Tensor]:
        """The encoder's five feature maps, shallow to deep; a method may perturb them before it calls `decode`.

        Raises:
            ConfigError: see `check_image`.
        """
        self.check_image(image)
        features: list[Tensor] = self.encoder(image, code)
        return features

    def decode(self, features: Sequence[Tensor], decoder: int = 0, code: Tensor | None = None) -> Decoded:
        """One decoder on the feature maps of `encode`."""
        decoded: Decoded = self.decoders[decoder](features, code)
        return decoded

    def forward(self, image: Tensor, time: Tensor | None = None) -> Tensor:
        """Logits ``(B, K, *S)`` of the first decoder; the others and the heads are not computed."""
        code = self.code(time)
        return self.decode(self.encode(image, code), code=code).logits[0]

    def forward_all(self, image: Tensor, time: Tensor | None = None) -> NetworkOutput:
        """Every decoder, head and tap of images ``(B, C, *S)``; ``time``: see `code`."""
        code = self.code(time)
        features = self.encode(image, code)
        decoded = [self.decode(features, k, code) for k in range(len(self.decoders))]
        taps = {"encoder": features[-2], "bottleneck": features[-1]}
        for k, one in enumerate(decoded):
            suffix = f".{k}" if k else ""
            taps |= {
                f"half{suffix}": one.half,
                f"before_dropout{suffix}": one.before_dropout,
                f"last{suffix}": one.last,
            }
        heads = {name: head(decoded[0].last) for name, head in self.heads.items()}
        return NetworkOutput([logits for one in decoded for logits in one.logits], heads, taps)
