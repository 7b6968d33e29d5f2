"""Contrast between remembered labelled features and unlabelled ones: which pairs, and the loss on them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Scope = Literal["class_mean", "anchor"]
Form = Literal["single_positive", "sum_positives"]


class Pairs(NamedTuple):
    """Positions among the candidates: one row for all anchors of a class, or one row an anchor.

    Attributes:
        positives: ``(1 or M, k)``.
        negatives: ``(1 or M, k')``.
    """

    positives: Tensor
    negatives: Tensor


class ProjectionHead(nn.Module):
    """Linear, norm, ReLU, linear: feature vectors ``(n, features)`` to ``(n, size)``.

    Args:
        features: of the network.
        size: of the projected vectors.
        batch_norm: over the vectors; else layer norm.
    """

    def __init__(self, features: int, size: int, *, batch_norm: bool = False) -> None:
        super().__init__()
        norm = nn.BatchNorm1d(size) if batch_norm else nn.LayerNorm(size)
        self.layers = nn.Sequential(nn.Linear(features, size), norm, nn.ReLU(inplace=True), nn.Linear(size, size))

    def forward(self, rows: Tensor) -> Tensor:
        """Projected vectors."""
        projected: Tensor = self.layers(rows)
        return projected


def cosines(anchors: Tensor, candidates: Tensor) -> Tensor:
    """Cosine of each of ``(M, F)`` with each of ``(N, F)``: ``(M, N)`` float32."""
    return F.normalize(anchors.float(), dim=1) @ F.normalize(candidates.float(), dim=1).T


@torch.no_grad()
def choose_pairs(
    similarity: Tensor, k: int, scope: Scope = "class_mean", members: Tensor | None = None
) -> Pairs | None:
    """The ``k`` candidates that are most like a class and the ``k`` that are least.

    Args:
        similarity: ``(M, N)``, anchors of one class by candidates.
        k: at most half of the candidates are taken.
        scope: one ranking by the mean over anchors, or one per anchor.
        members: ``(N,)``: candidates that are believed to be of the class; positives come from them only, negatives from the others
            only. None: all compete.

    Returns:
        The pairs; None where there is no positive or no negative.
    """
    ranks = similarity.mean(0, keepdim=True) if scope == "class_mean" else similarity
    k, inside = min(k, ranks.shape[1] // 2), ranks.shape[1]
    outside = inside
    above, below = ranks, ranks
    if members is not None:
        inside = int(members.sum())
        outside = len(members) - inside
        above, below = ranks.masked_fill(~members, -torch.inf), ranks.masked_fill(members, torch.inf)
    if not min(k, inside, outside):
        return None
    positives = above.topk(min(k, inside), 1).indices
    return Pairs(positives, below.topk(min(k, outside), 1, largest=False).indices)


def pair_loss(positive: Tensor, negative: Tensor, temperature: float, form: Form = "single_positive") -> Tensor:
    """InfoNCE with all negatives of an anchor in the denominator.

        single_positive: mean_ij -log e^{p_ij / T} / (e^{p_ij / T} + sum_n e^{q_in / T})
        sum_positives:   mean_i  -log sum_j e^{p_ij / T} / (sum_j e^{p_ij / T} + sum_n e^{q_in / T})

    Args:
        positive: cosines ``p``, ``(M, k)``.
        negative: cosines ``q``, ``(M, k')``.
        temperature: ``T``.
        form: which of the two.
    """
    against = (negative / temperature).logsumexp(1, keepdim=True)
    towards = positive / temperature
    if form == "sum_positives":
        towards = towards.logsumexp(1, keepdim=True)
    return F.softplus(against - towards).mean()


def contrast_loss(similarity: Tensor, pairs: Pairs, temperature: float, form: Form = "single_positive") -> Tensor:
    """`pair_loss` on the chosen pairs of one class's ``(M, N)`` cosines; gradient goes to the cosines alone."""
    rows = len(similarity)
    positive, negative = (similarity.gather(1, chosen.expand(rows, -1)) for chosen in pairs)
    return pair_loss(positive, negative, temperature, form)
