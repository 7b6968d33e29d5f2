"""Pseudo-labels: which voxels get one, and what a network learns from another's. Labels are ``(B, *S)`` int64, 0 the background."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewmask.components.uncertainty import logit_entropy, percentile

IGNORE = -100  # what torch's cross-entropy leaves out


@torch.no_grad()
def confident_labels(probabilities: Tensor, confidence: float, *, ignore_doubtful: bool = False) -> Tensor:
    """The most probable class where it reaches a confidence, else background.

    With two classes and ``confidence > 1/2`` this is ``1[p_foreground >= confidence]``.

    Args:
        probabilities: ``(B, K, *S)``.
        confidence: ``tau``.
        ignore_doubtful: foreground below ``tau`` becomes `IGNORE` instead of background.
    """
    highest, labels = probabilities.max(1)
    doubtful = (highest < confidence) & (labels > 0)
    return labels.masked_fill(doubtful, IGNORE if ignore_doubtful else 0)


@torch.no_grad()
def union_labels(first: Tensor, second: Tensor) -> Tensor:
    """One label map from two probability maps ``(B, K, *S)``: foreground beats background.

    With two classes this is the logical OR of both argmax maps. Where two foreground classes meet, the one with the larger
    probability in its own network wins, the first network's at a tie.
    """
    scores, labels = zip(*(one.max(1) for one in (first, second)), strict=True)
    mine, theirs = (score.masked_fill(label == 0, -1) for score, label in zip(scores, labels, strict=True))
    return torch.where(mine >= theirs, labels[0], labels[1])


def pseudo_label_loss(first: Tensor, second: Tensor, first_labels: Tensor, second_labels: Tensor) -> Tensor:
    """Each network's cross-entropy against the other's labels, summed: ``CE(z_1, Y_2) + CE(z_2, Y_1)``; means over voxels with a label."""
    return _mean_ce(first, second_labels) + _mean_ce(second, first_labels)


def _mean_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """0, not NaN, where every voxel is ignored."""
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


@torch.no_grad()
def uncertain_voxels(
    first: Tensor, second: Tensor, share: float, rule: Literal["both", "any"] = "both"
) -> tuple[Tensor, Tensor, Tensor]:
    """Where the entropy is at or above its percentile, in both networks or in any of them.

    Args:
        first: logits ``(B, K, *S)`` of one network; the percentile is over the whole batch.
        second: of the other.
        share: ``alpha`` in percent; larger keeps more voxels certain.
        rule: both networks must be uncertain (as published), or one is enough.

    Returns:
        The mask ``(B, *S)`` and both thresholds.
    """
    entropies = [logit_entropy(logits) for logits in (first, second)]
    thresholds = [percentile(values, share) for values in entropies]
    high = [values >= threshold for values, threshold in zip(entropies, thresholds, strict=True)]
    return high[0] & high[1] if rule == "both" else high[0] | high[1], thresholds[0], thresholds[1]


def entropy_filtered_loss(
    first: Tensor,
    second: Tensor,
    uncertain: Tensor,
    target: Literal["union", "cross", "agree"] = "union",
    *,
    reweight: bool = True,
) -> Tensor:
    """Pseudo-label loss over the voxels that are not uncertain.

        (N / N_valid) [CE_valid(z_1, Y) + CE_valid(z_2, Y)],   CE_valid the mean over valid voxels; 0 where none is

    Args:
        first: logits ``(B, K, *S)``.
        second: the other network's.
        uncertain: ``(B, *S)``; see `uncertain_voxels`.
        target: Y is the union of both argmax maps (see `union_labels`), the other's argmax, or their agreement alone.
        reweight: the factor ``N / N_valid``.
    """
    with torch.no_grad():
        mine, theirs = first.float().softmax(1), second.float().softmax(1)
        labels = [mine.argmax(1), theirs.argmax(1)]
        if target == "union":
            labels = [union_labels(mine, theirs)] * 2
        elif target == "agree":
            uncertain = uncertain | (labels[0] != labels[1])
        labels = [one.masked_fill(uncertain, IGNORE) for one in labels]
    loss = pseudo_label_loss(first, second, *labels)
    return loss * (uncertain.numel() / (~uncertain).sum().clamp(min=1)) if reweight else loss
