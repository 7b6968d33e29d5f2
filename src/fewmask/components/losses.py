"""Losses that several methods share. Logits are ``(B, K, *S)``, labels ``(B, *S)`` int64."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Labels ``(B, *S)`` as indicator maps ``(B, K, *S)``, float32."""
    return F.one_hot(labels, num_classes).movedim(-1, 1).float()


def full_precision(values: Tensor) -> Tensor:
    """Half-precision values as float32; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def dice_loss(
    probabilities: Tensor,
    target: Tensor,
    *,
    squared: bool = True,
    background: bool = True,
    smooth: float = 1e-5,
    per_sample: bool = False,
    counts: Tensor | None = None,
) -> Tensor:
    """Dice loss, averaged over classes.

        squared:  1 - (2 sum p y + s) / (sum p^2 + sum y^2 + s)      per class, sums over batch and voxels
        else:     1 - (2 sum p y + s) / (sum p + sum y + s)

    Two equal maps have the plain loss ``1 - sum p^2 / sum p``: it also draws them to 0 and 1.

    Args:
        probabilities: ``(B, K, *S)``.
        target: indicator maps ``(B, K, *S)``; need not be 0 and 1.
        squared: squares in the denominator.
        background: whether class 0 counts; without it a binary task's squared loss is the field's Dsq1.
        smooth: ``s``.
        per_sample: sums over the voxels of each sample alone; the mean is over samples too.
        counts: ``(B, 1, *S)``, 0 where voxels do not count.
    """
    first = 0 if background else 1
    p, y = probabilities[:, first:], target[:, first:]
    if counts is not None:
        p, y = p * counts, y * counts
    over = [*([] if per_sample else [0]), *range(2, p.ndim)]
    size = p.square().sum(over) + y.square().sum(over) if squared else p.sum(over) + y.sum(over)
    return (1 - (2 * (p * y).sum(over) + smooth) / (size + smooth)).mean()


def supervised_loss(
    logits: Tensor, labels: Tensor, *, background: bool = True, squared: bool = True
) -> tuple[Tensor, Tensor]:
    """Cross-entropy (mean over voxels) and Dice loss of labelled patches, never in half precision.

    Args:
        logits: ``(B, K, *S)``.
        labels: ``(B, *S)``.
        background: whether class 0 counts for Dice.
        squared: see `dice_loss`.

    Returns:
        ``(CE, Dice)``, two scalars.
    """
    logits = full_precision(logits)
    truth = one_hot(labels, logits.shape[1])
    dice = dice_loss(logits.softmax(1), truth, squared=squared, background=background)
    return F.cross_entropy(logits, labels), dice


def softmax_mse(logits: Tensor, target_logits: Tensor) -> Tensor:
    """Squared difference of two softmaxes, unreduced ``(B, K, *S)``; no gradient to the target."""
    return (logits.float().softmax(1) - target_logits.detach().float().softmax(1)).square()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` ``(B, K, *S)`` where ``mask`` ``(B, 1, *S)`` holds; 0 where it holds nowhere."""
    weights = mask.to(values.dtype).expand_as(values)
    return (values * weights).sum() / (weights.sum() + 1e-16)


def cross_pseudo_loss(first: Tensor, second: Tensor) -> Tensor:
    """Each network's cross-entropy against the other's argmax, summed; no gradient through the labels."""
    with torch.no_grad():
        first_labels, second_labels = first.argmax(1), second.argmax(1)
    return F.cross_entropy(first.float(), second_labels) + F.cross_entropy(second.float(), first_labels)
