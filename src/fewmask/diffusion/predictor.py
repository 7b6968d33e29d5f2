"""A diffusion network that predicts: from noise to class probabilities, the same for the same scan."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fewmask.diffusion.labels import LabelDiffusion
from fewmask.diffusion.sampling import ddim, evenly_spaced


class DiffusionPredictor(nn.Module):
    """Denoises label maps, given the image: ``(B, C, *S)`` to probabilities ``(B, K, *S)``, the softmax of the last step's logits.

    The noise comes from a seed of its own and belongs to the scan's voxels, not to the window: a field of the patch's size, repeated
    over the scan, of which each window takes the part at its place. So windows agree on the noise where they overlap, and none of
    them holds a value twice.

    Args:
        network: image beside noisy labels ``(B, C + K, *S)`` and steps ``(B,)`` to logits ``(B, K, *S)``.
        diffusion: what it was trained with.
        field: ``(K, *patch)``.
        steps: network passes per window.
        seed: of the noise.
        beside: a network that needs no noise, ``(B, C, *S)`` to logits; its softmax is averaged with the result.

    Attributes:
        takes_corners: the sliding window tells it where each window lies.
    """

    takes_corners = True
    noise: Tensor

    def __init__(
        self,
        network: nn.Module,
        diffusion: LabelDiffusion,
        field: Sequence[int],
        *,
        steps: int = 10,
        seed: int = 0,
        beside: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.network, self.diffusion, self.beside = network, diffusion, beside
        self.chosen = evenly_spaced(diffusion.steps, steps)
        noise = torch.randn(*field, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("noise", noise.to(next(network.parameters()).device), persistent=False)

    def forward(self, image: Tensor, corners: Sequence[Sequence[int]] | None = None) -> Tensor:
        """Probabilities of images; ``corners``: their first voxels in the scan, none: the scan's own first voxel."""
        origin = [0] * (image.ndim - 2)
        if corners is None:
            noise = self._at(origin, image.shape[2:]).expand(image.shape[0], *[-1] * (image.ndim - 1))
        else:
            noise = torch.stack([self._at(corner, image.shape[2:]) for corner in corners])

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            logits: Tensor = self.network(torch.cat([image, noisy.to(image.dtype)], 1), t)
            return logits

        logits = ddim(predict, noise, self.diffusion, self.chosen, to_clean=self.diffusion.clean)
        probabilities = logits.float().softmax(1)
        return probabilities if self.beside is None else (probabilities + self.beside(image).float().softmax(1)) / 2

    def _at(self, corner: Sequence[int], shape: Sequence[int]) -> Tensor:
        """The noise ``(K, *shape)`` of the scan's voxels from ``corner`` on."""
        noise = self.noise
        for axis, (first, side) in enumerate(zip(corner, shape, strict=True), start=1):
            places = (first + torch.arange(side, device=noise.device)) % noise.shape[axis]
            noise = noise.index_select(axis, places)
        return noise
