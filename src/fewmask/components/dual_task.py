"""Networks that give signed distance maps beside their logits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fewmask.data.batch import Batch
from fewmask.data.distance import signed_distances
from fewmask.networks import Network


class DualTaskNetwork(nn.Module):
    """One network, two tasks: a logit and a signed distance for each foreground class.

    The background's logit is 0: with two classes the softmax is then the sigmoid of the one logit, as published, and with more it remains a
    softmax.

    Args:
        network: with as many outputs as foreground classes and a head ``distance`` of as many channels.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, K, *S)``."""
        return with_background(self.network(image))

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, K, *S)`` and signed distances ``(B, K - 1, *S)`` in (-1, 1), float32."""
        output = self.network.forward_all(image)
        return with_background(output.logits[0].float()), output.heads["distance"].float().tanh()


def with_background(logits: Tensor) -> Tensor:
    """Logits of the foreground classes ``(B, K - 1, *S)`` with a 0 for the background in front."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)


def mask_of(distances: Tensor, slope: float = 1500.0) -> Tensor:
    """The soft mask ``sigmoid(-slope s)`` of signed distances: 1 inside, 0 outside, and within a few thousandths of the border between."""
    return torch.sigmoid(-slope * distances)


def distances_of(batch: Batch, num_classes: int, *, absent: float = 1.0) -> Tensor:
    """The signed distance maps of a batch's labels ``(B_l, K - 1, *S)``; computed here where no loader has done it.

    Args:
        batch: with labels.
        num_classes: K.
        absent: the value of a class that a patch does not show.
    """
    maps = batch.distances
    if maps is None:
        labels = batch.labels.cpu().numpy()
        maps = torch.from_numpy(np.stack([signed_distances(label, num_classes) for label in labels])).to(
            batch.labels.device
        )
    values = torch.arange(1, num_classes, device=batch.labels.device)
    shown = (batch.labels.flatten(1)[:, None] == values[:, None]).any(2)
    return torch.where(shown.reshape(*shown.shape, *[1] * (batch.labels.ndim - 1)), maps, absent)
