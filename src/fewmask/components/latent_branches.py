"""Two ways from an image to the latent of its mask, and one frozen decoder with adapters of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fewmask.components.mask_codes import MaskCode
from fewmask.networks.autoencoder import Autoencoder
from fewmask.networks.latent_encoder import LatentEncoder
from fewmask.networks.latent_mapping import LatentMapping
from fewmask.networks.skip_adapters import SkipAdapters

BranchName = Literal["image", "mask"]
BRANCHES: tuple[BranchName, ...] = ("image", "mask")


class MaskLatent(NamedTuple):
    """A branch's latent of the mask ``(B, Z, *S / f)``, and its encoder's features, full resolution first."""

    latent: Tensor
    skips: list[Tensor]


class LatentBranches(nn.Module):
    """The networks of SemiGDA.

    - ``image``: the frozen encoder's latent of the image, mapped to that of the mask; its adapters bring the frozen encoder's features.
    - ``mask``: a trained encoder finds the mask's latent by itself; its adapters bring its own features.

    Args:
        autoencoder: of images and masks.
        mapping: from latent to latent.
        encoder: images to moments.
        adapters: by branch; a branch without decodes its latent alone.
        input_range: the intensities that become -1 and 1; none: the least and the largest of each image.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        mapping: LatentMapping,
        encoder: LatentEncoder,
        adapters: dict[BranchName, SkipAdapters],
        input_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.autoencoder, self.mapping, self.encoder = autoencoder, mapping, encoder
        self.adapters = nn.ModuleDict({str(name): part for name, part in adapters.items()})
        self.input_range = input_range

    def prepare(self, image: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` of one or three channels as ``(B, 3, H, W)`` in [-1, 1]."""
        if self.input_range is None:
            low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
            image = (image - low) / (high - low).clamp_min(1e-6)
        else:
            low_value, high_value = self.input_range
            image = (image - low_value) / (high_value - low_value)
        return (2 * image - 1).repeat(1, 3 // image.shape[1], 1, 1)

    def find(self, branch: BranchName, image: Tensor, noise: Tensor | None = None) -> MaskLatent:
        """A branch's latent of the mask of prepared images.

        Args:
            branch: which.
            image: ``(B, 3, H, W)``.
            noise: of the image's latent, in its standard deviations, ``(B, Z, *S / f)``; for the image branch.
        """
        if branch == "image":
            code = self.autoencoder.encode(image)
            latent = code.mean if noise is None else code.mean + noise * code.std
            return MaskLatent(self.mapping(latent).float(), code.skips)
        moments, skips = self.encoder(image)
        return MaskLatent(self.autoencoder.code(moments, skips).mean, skips)

    def decode(self, branch: BranchName, found: MaskLatent) -> Tensor:
        """The mask's image ``(B, 3, H, W)`` of a branch's latent."""
        if branch not in self.adapters:
            return self.autoencoder.decode(found.latent)
        adapters = self.adapters[branch]
        assert isinstance(adapters, SkipAdapters)
        return self.autoencoder.decode(
            found.latent, lambda level, features: adapters.fuse(level, features, found.skips[level])
        )


class BranchPredictor(nn.Module):
    """The mean of the branches' memberships.

    Args:
        branches: the networks.
        code: of the masks.
        names: which branches take part.
    """

    def __init__(self, branches: LatentBranches, code: MaskCode, names: Sequence[BranchName] = BRANCHES) -> None:
        super().__init__()
        self.branches, self.code, self.names = branches, code, tuple(names)

    def forward(self, image: Tensor) -> Tensor:
        """Shares of the classes ``(B, K, H, W)`` of images ``(B, C, H, W)``."""
        prepared = self.branches.prepare(image)
        shares = [
            self.code.shares(self.branches.decode(name, self.branches.find(name, prepared))) for name in self.names
        ]
        return torch.stack(shares).mean(0)
