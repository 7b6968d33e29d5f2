"""Uncertainty of a prediction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewmask.components.noise import consistency_noise


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats over the class axis: ``-sum_c p ln(p + 1e-6)``, ``(B, K, *S)`` to ``(B, *S)``."""
    return -(probabilities * torch.log(probabilities + 1e-6)).sum(1)


def logit_entropy(logits: Tensor) -> Tensor:
    """Exact entropy in nats over the class axis, in float32 and from logits: ``(B, K, *S)`` to ``(B, *S)``, finite for any finite logits."""
    logs = logits.float().log_softmax(1)
    return -(logs.exp() * logs).sum(1)


@torch.no_grad()
def percentile(values: Tensor, share: float) -> Tensor:
    """The percentile of all values with linear interpolation, as NumPy's, of tensors of any size.

    ``torch.quantile`` refuses more than 2^24 elements, which a batch of patches easily has.

    Args:
        values: any shape.
        share: percent, 0 to 100.

    Returns:
        A scalar in float32.
    """
    flat = values.float().flatten()
    place = share / 100 * (len(flat) - 1)
    low = min(int(place), len(flat) - 1)
    below = flat.kthvalue(low + 1).values
    above = flat.kthvalue(min(low + 2, len(flat))).values
    return below.lerp(above, place - low)


@torch.no_grad()
def monte_carlo_softmax(network: nn.Module, images: Tensor, passes: int, noise: float) -> Tensor:
    """Mean softmax of stochastic passes, each on an independently noised copy of the images, without gradient.

    The network must be in train mode, so that its dropout is active. As in the field's code, passes are run two at a time.

    Args:
        network: image ``(B, C, *S)`` to logits ``(B, K, *S)``.
        images: ``(B, C, *S)``.
        passes: number of passes ``T``.
        noise: see `consistency_noise`.

    Returns:
        ``(B, K, *S)``, float32.
    """
    total: Tensor | None = None
    for start in range(0, passes, 2):
        copies = min(2, passes - start)
        batch = consistency_noise(images.repeat(copies, *[1] * (images.ndim - 1)), noise)
        probabilities = network(batch).float().softmax(1).unflatten(0, (copies, len(images))).sum(0)
        total = probabilities if total is None else total + probabilities
    assert total is not None  # passes >= 1
    return total / passes
