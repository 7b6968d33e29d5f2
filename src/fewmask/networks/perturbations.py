"""Random changes of feature maps that a decoder must withstand."""

from __future__ import annotations

import torch
from torch import Tensor


def feature_noise(features: Tensor, bound: float = 0.3) -> Tensor:
    """``x (1 + U)`` with ``U`` uniform in ``[-bound, bound]`` per channel and voxel, the same for the whole batch.

    Args:
        features: ``(B, C, *S)``.
        bound: largest relative change.
    """
    noise = torch.empty_like(features[:1]).uniform_(-bound, bound)
    return features * (1 + noise)


def attention_drop(features: Tensor, low: float = 0.7, high: float = 0.9) -> Tensor:
    """Zero the most attended voxels: where the channel mean reaches ``U(low, high)`` of its maximum in that sample.

    Args:
        features: ``(B, C, *S)``.
        low: smallest share of the maximum.
        high: largest share; one is drawn per call.
    """
    attention = features.mean(1, keepdim=True)
    share = torch.empty((), device=features.device, dtype=features.dtype).uniform_(low, high)
    threshold = attention.flatten(1).amax(1).view(-1, *[1] * (features.ndim - 1)) * share
    return features * (attention < threshold)
