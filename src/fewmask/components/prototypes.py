"""Class prototypes: mean features of voxels that are believed, and the pull of the others towards them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewmask.components.uncertainty import logit_entropy, percentile


@torch.no_grad()
def reliable_voxels(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Where two networks agree and both are certain: ``(B, *S)``.

        r(v) = 1[argmax z_1 = argmax z_2] 1[H_1 <= gamma] 1[H_2 <= gamma],   gamma the percentile of both entropies together

    Args:
        first: logits ``(B, K, *S)``.
        second: the other network's.
        share: the percentile, in percent.
    """
    mine, theirs = logit_entropy(first), logit_entropy(second)
    threshold = percentile(torch.stack([mine, theirs]), share)
    return (first.argmax(1) == second.argmax(1)) & (mine <= threshold) & (theirs <= threshold)


def prototype_contrast(
    features: Tensor,
    labels: Tensor,
    reliable: Tensor,
    num_classes: int,
    *,
    fraction: float = 0.01,
    between: Literal[1, 0, -1] = 1,
) -> Tensor:
    """Uncertain voxels are drawn to the mean feature of the reliable voxels of their class.

        mu_c = mean f over {reliable, label c},   d(a, b) = |a/|a| - b/|b||_2
        L = sum_c mean_{sampled uncertain v of class c} d(f_v, mu_c) + between mean_{c < c'} d(mu_c, mu_c')

    The prototypes carry no gradient in the first term and carry it in the second. Where a class has no reliable or no
    uncertain voxel, its terms are 0.

    Args:
        features: ``(B, F, *S)``.
        labels: predicted classes ``(B, *S)``.
        reliable: ``(B, *S)``; the other voxels are the uncertain ones.
        num_classes: K.
        fraction: voxels drawn per class, as a share of the uncertain foreground; at least one.
        between: 1 draws the prototypes together, as published; -1 pushes them apart; 0 leaves them.

    Returns:
        A scalar, float32.
    """
    rows = features.float().movedim(1, -1).flatten(0, -2)
    labels, reliable = labels.flatten(), reliable.flatten()
    count = max(1, int(fraction * int(((labels > 0) & ~reliable).sum())))
    total, prototypes = rows.new_zeros(()), []
    for label in range(num_classes):
        mine = labels == label
        trusted = (mine & reliable).nonzero().flatten()
        if not len(trusted):
            continue
        prototypes.append(_unit(rows[trusted].mean(0)))
        doubtful = (mine & ~reliable).nonzero().flatten()
        if len(doubtful):
            drawn = doubtful[torch.randperm(len(doubtful), device=doubtful.device)[:count]]
            total = total + _distance(_unit(rows[drawn]), prototypes[-1].detach()).mean()
    return total + between * _spread(prototypes) if between and len(prototypes) > 1 else total


def _unit(rows: Tensor) -> Tensor:
    """Each row by its length. A row of zeros has no direction: it stays zero and gets no gradient, where a plain quotient gives 1e12 of it."""
    length = rows.norm(dim=-1, keepdim=True)
    return F.normalize(torch.where(length > 1e-6, rows, rows.detach()), dim=-1)


def _distance(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean distance along the last axis, with a gradient of 0 instead of NaN at distance 0."""
    return ((first - second).square().sum(-1) + 1e-24).sqrt()


def _spread(prototypes: Sequence[Tensor]) -> Tensor:
    """Mean distance over pairs of prototypes."""
    return torch.stack([_distance(a, b) for a, b in combinations(prototypes, 2)]).mean()
