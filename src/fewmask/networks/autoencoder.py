"""An autoencoder of images with a Gaussian latent: diffusers' ``AutoencoderKL``, walked level by level so that others can look in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from fewmask.config import Section, Sizes
from fewmask.errors import ConfigError
from fewmask.networks.ldm_weights import diffusers_names

Fuse = Callable[[int, Tensor], Tensor]
_STABLE_DIFFUSION: dict[str, Any] = {"widths": (128, 256, 512, 512), "layers": 2, "groups": 32}
_SMALL: dict[str, Any] = {"widths": (32, 64, 128, 128), "layers": 1, "groups": 8}
_TOLERANCE = 1e-4
_SCALE = 0.18215  # of Stable Diffusion's latents, which files of the first release do not hold


class AutoencoderShape(Section):
    """Size of the autoencoder, and whose weights it has."""

    diffusers: str | None = Field(
        None,
        description="folder or hub id of a Stable-Diffusion autoencoder in diffusers' format (config.json and safetensors), or a "
        "safetensors file with the names of the first release",
    )
    subfolder: str = Field("", description="of that folder or repository, such as vae")
    download: bool = Field(False, description="a hub id may be fetched; false: only what is in the local cache")
    widths: Sizes | None = Field(
        None,
        description="channels per level, each level halving the sides; none: 32, 64, 128, 128, or Stable Diffusion's 128, 256, 512, 512",
    )
    layers: int | None = Field(None, ge=1, description="residual blocks a level; none: 1, or Stable Diffusion's 2")
    groups: int | None = Field(None, ge=1, description="groups of the norms; none: 8, or Stable Diffusion's 32")
    latent_channels: int = Field(4, ge=1, description="channels of the latent")
    quant_conv: bool = Field(True, description="1x1 convolutions around the latent, as in Stable Diffusion 1 and 2")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        widths, groups = self.resolved()["widths"], self.resolved()["groups"]
        if not widths or any(width <= 0 or width % groups for width in widths):
            raise ValueError(f"widths {list(widths)} must be multiples of groups {groups}")
        return self

    def resolved(self) -> dict[str, Any]:
        """``widths``, ``layers`` and ``groups``, none of them missing."""
        usual = _STABLE_DIFFUSION if self.diffusers else _SMALL
        return {name: usual[name] if getattr(self, name) is None else getattr(self, name) for name in usual}


class Code(NamedTuple):
    """What an encoder makes of images.

    Attributes:
        mean: of the latent, scaled, ``(B, Z, *S / f)``.
        std: likewise.
        kl: of the unscaled latent from the standard normal distribution, summed over a sample, ``(B,)``.
        skips: feature maps of the levels, full resolution first.
    """

    mean: Tensor
    std: Tensor
    kl: Tensor
    skips: list[Tensor]


class Autoencoder(nn.Module):
    """Images ``(B, 3, H, W)`` in [-1, 1] to a latent ``(B, Z, H / f, W / f)`` and back; ``f`` halves once a level but the first.

    Latents are ``(mean - shift) scale``; both numbers are saved with the weights.

    Args:
        shape: the size.

    Raises:
        ConfigError: diffusers is not installed, or a version whose blocks are put together differently.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, shape: AutoencoderShape) -> None:
        super().__init__()
        resolved = shape.resolved()
        self.widths: tuple[int, ...] = tuple(resolved["widths"])
        self.groups: int = resolved["groups"]
        self.latent_channels = shape.latent_channels
        self.stride = 2 ** (len(self.widths) - 1)
        self.kl = _kind()(
            block_out_channels=self.widths,
            layers_per_block=resolved["layers"],
            norm_num_groups=self.groups,
            latent_channels=shape.latent_channels,
            down_block_types=("DownEncoderBlock2D",) * len(self.widths),
            up_block_types=("UpDecoderBlock2D",) * len(self.widths),
            use_quant_conv=shape.quant_conv,
            use_post_quant_conv=shape.quant_conv,
        )
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))

    def encode(self, image: Tensor) -> Code:
        """Images ``(B, 3, H, W)`` to their code; the skip of a level is what leaves its last residual block."""
        encoder = self.kl.encoder
        x, skips = encoder.conv_in(image), []
        for level in encoder.down_blocks:
            for block in level.resnets:
                x = block(x, None)
            skips.append(x)
            for step in level.downsamplers or ():
                x = step(x)
        x = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(encoder.mid_block(x))))
        return self.code(x, skips)

    def code(self, features: Tensor, skips: list[Tensor]) -> Code:
        """The code of features ``(B, 2 Z, *S / f)`` before the quantisation convolution, which anybody's encoder may have made."""
        moments = features if self.kl.quant_conv is None else self.kl.quant_conv(features)
        mean, logvar = moments.float().chunk(2, 1)
        logvar = logvar.clamp(-30, 20)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1)
        return Code((mean - self.shift) * self.scale, (0.5 * logvar).exp() * self.scale, kl, skips)

    def decode(self, latent: Tensor, fuse: Fuse | None = None) -> Tensor:
        """Scaled latents to images ``(B, 3, H, W)``.

        Args:
            latent: ``(B, Z, H / f, W / f)``.
            fuse: called in every level, deepest first, with the level's number (0 is full resolution) and what its first residual
                block gives; what it returns goes on.
        """
        decoder, x = self.kl.decoder, latent / self.scale + self.shift
        if self.kl.post_quant_conv is not None:
            x = self.kl.post_quant_conv(x)
        x = decoder.mid_block(decoder.conv_in(x))
        for number, level in zip(reversed(range(len(self.widths))), decoder.up_blocks, strict=True):
            first, *others = level.resnets
            x = first(x, None)
            if fuse is not None:
                x = fuse(number, x)
            for block in others:
                x = block(x, None)
            for step in level.upsamplers or ():
                # As diffusers does for less than 64 images: beyond, it makes a copy, which fixes the batch size of an exported program.
                x = step.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        output: Tensor = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(x)))
        return output.float()

    @torch.no_grad()
    def check_walk(self) -> None:
        """Compare `encode` and `decode` with diffusers' own on a small image.

        Raises:
            ConfigError: they differ, because the installed diffusers puts its blocks together differently.
        """
        side = 8 * self.stride
        image = torch.linspace(-1, 1, 3 * side * side, device=self.scale.device).reshape(1, 3, side, side)
        posterior = self.kl.encode(image).latent_dist
        own = self.encode(image)
        errors = [
            (own.mean / self.scale + self.shift - posterior.mean).abs().max(),
            (self.decode(own.mean) - self.kl.decode(posterior.mean).sample).abs().max(),
        ]
        if max(map(float, errors)) > _TOLERANCE * max(1.0, float(posterior.mean.abs().max())):
            raise ConfigError("this version of diffusers builds AutoencoderKL differently: install diffusers 0.42")


def _kind() -> Any:
    """The class of diffusers, imported when it is needed.

    Raises:
        ConfigError: diffusers is not installed.
    """
    try:
        from diffusers.models import AutoencoderKL
    except ImportError as error:
        raise ConfigError(
            f"semigda needs diffusers for its autoencoder ({error}): install it with pip install 'fewmask[semigda]'"
        ) from None
    return AutoencoderKL


def _place_of(shape: AutoencoderShape) -> str | None:
    """The folder or hub id to load from; the cache's folder where nothing may be fetched.

    diffusers asks the hub about an id even with ``local_files_only``.
    """
    if shape.diffusers is None or shape.download or Path(shape.diffusers).is_dir():
        return shape.diffusers
    from huggingface_hub import snapshot_download

    return str(snapshot_download(shape.diffusers, local_files_only=True))


def load_diffusers(autoencoder: Autoencoder, shape: AutoencoderShape) -> None:
    """Give an autoencoder the weights, scale and shift of one that diffusers saved, or those of a file of the first release.

    Only safetensors are read, so that nothing is unpickled.

    Raises:
        ConfigError: it cannot be read, or is of another size (says which settings to change).
    """
    if shape.diffusers is not None and Path(shape.diffusers).is_file():
        _load_file(autoencoder, shape.diffusers)
        return
    try:
        source = _kind().from_pretrained(
            _place_of(shape),
            subfolder=shape.subfolder or None,
            local_files_only=not shape.download,
            use_safetensors=True,
            low_cpu_mem_usage=False,  # True wants another package
            torch_dtype=torch.float32,
        )
    except Exception as error:  # OSError, ValueError, and whatever the hub's client raises
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigError(
            f"autoencoder.diffusers {shape.diffusers!r} cannot be loaded ({reason}): give a folder with config.json and safetensors "
            "weights; or a hub id, with autoencoder.download=true where it is not in the local cache; or leave it out, and a "
            "small one is trained on the images first"
        ) from None
    theirs, ours = source.config, shape.resolved()
    sizes = {
        "widths": (tuple(theirs.block_out_channels), ours["widths"]),
        "layers": (theirs.layers_per_block, ours["layers"]),
        "groups": (theirs.norm_num_groups, ours["groups"]),
        "latent_channels": (theirs.latent_channels, shape.latent_channels),
        "quant_conv": (theirs.use_quant_conv, shape.quant_conv),
    }
    wrong = [f"method.autoencoder.{name}={_plain(their)}" for name, (their, our) in sizes.items() if their != our]
    if wrong:
        raise ConfigError(f"autoencoder.diffusers {shape.diffusers!r} is of another size: set {' and '.join(wrong)}")
    _fill(autoencoder, source.state_dict(), str(shape.diffusers), theirs.scaling_factor, theirs.shift_factor or 0.0)


def _load_file(autoencoder: Autoencoder, path: str) -> None:
    """The weights of one file under the names of the first release."""
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except Exception as error:  # OSError, and whatever safetensors raises
        raise ConfigError(
            f"autoencoder.diffusers {path!r} cannot be loaded ({error}): a file must hold safetensors; other formats can run code, "
            "convert them with diffusers first"
        ) from None
    _fill(autoencoder, diffusers_names(weights, len(autoencoder.widths)), path, _SCALE, 0.0)


def _fill(autoencoder: Autoencoder, weights: dict[str, Tensor], name: str, scale: float, shift: float) -> None:
    """Put weights under diffusers' names into an autoencoder, and see whether it works as diffusers' does."""
    try:
        autoencoder.kl.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            f"autoencoder.diffusers {name!r} is another kind of autoencoder ({str(error).splitlines()[-1].strip()}): "
            "give one of Stable Diffusion, and its size in method.autoencoder"
        ) from None
    autoencoder.scale.fill_(scale)
    autoencoder.shift.fill_(shift)
    autoencoder.check_walk()


def _plain(value: Any) -> Any:
    return str(list(value)).replace(" ", "") if isinstance(value, tuple) else str(value).lower()
