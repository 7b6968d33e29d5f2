"""Several predictions of one image that are to agree: sharpened targets, and which decoders a network has for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

from fewmask.networks import Network


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """Each class against the rest, nearer to 0 and 1: ``p^(1/T) / (p^(1/T) + (1 - p)^(1/T))``.

    With two classes it is the sharpened distribution; with more, the classes need not sum to 1.

    Args:
        probabilities: ``(B, K, *S)``.
        temperature: ``T``, below 1 to sharpen.
    """
    # By logits, since the tenth power of a small number is no number in half precision; its gradient stays finite as well.
    clipped = probabilities.float().clamp(1e-7, 1 - 1e-7)
    return torch.sigmoid(torch.logit(clipped) / temperature)


def mutual_loss(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """``sum_{k != j} mean (p^k - q^j)^2`` over ordered pairs; the mean is over batch, class and voxel."""
    pairs: Iterable[tuple[int, int]] = permutations(range(len(predictions)), 2)
    return torch.stack([(predictions[k] - targets[j]).square().mean() for k, j in pairs]).sum()


class DecoderPredictor(nn.Module):
    """Mean softmax of all decoders of a network.

    Args:
        network: with several decoders.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Class probabilities ``(B, K, *S)`` of images ``(B, C, *S)``."""
        maps: list[Any] = [logits.float().softmax(1) for logits in self.network.forward_all(image).logits]
        return torch.stack(maps).mean(0)
