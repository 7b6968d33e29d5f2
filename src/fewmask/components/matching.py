"""Which channel of an unsupervised prediction means which class."""

from __future__ import annotations

import torch
from torch import Tensor

from fewmask.components.losses import one_hot


@torch.no_grad()
def class_overlap(probabilities: Tensor, labels: Tensor) -> Tensor:
    """How probable each channel is on the voxels of each class.

    Args:
        probabilities: ``(B, K, *S)``.
        labels: ``(B, *S)`` int64.

    Returns:
        ``(K, K)`` float64: mean probability of channel (column) over the voxels of a class (row); a class without voxels has 0.
    """
    channels = probabilities.shape[1]
    p = probabilities.double().movedim(1, -1).flatten(0, -2)
    y = one_hot(labels, channels).double().movedim(1, -1).flatten(0, -2)
    return (y.T @ p) / y.sum(0).clamp(min=1)[:, None]


def best_order(overlap: Tensor) -> Tensor:
    """The channel that stands for each class, ``(K,)`` int64, so that their mean overlap is largest.

    The mean over classes weighs a rare class like a frequent one: by voxels alone, everything as background would often win.
    """
    from scipy.optimize import linear_sum_assignment

    _, columns = linear_sum_assignment(overlap.cpu().numpy(), maximize=True)
    return torch.as_tensor(columns, dtype=torch.int64)
