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


def dice_squared(
    probabilities: Tensor,
    target: Tensor,
    *,
    background: bool = True,
    smooth: float = 1e-5,
    per_sample: bool = False,
) -> Tensor:
    """Dice loss with squared denominator, pooled over the batch, averaged over classes.

        1 - (2 sum p y + s) / (sum p^2 + sum y^2 + s)      per class, sums over batch and voxels

    Args:
        probabilities: ``(B, K, *S)``.
        target: indicator maps ``(B, K, *S)``.
        background: whether class 0 counts; without it a binary task's loss is the field's Dsq1.
        smooth: ``s``.
        per_sample: sums over the voxels of each sample alone; the mean is over samples too.
    """
    over = _summed(probabilities, per_sample)
    size = probabilities.square().sum(over) + target.square().sum(over)
    return _dice((probabilities * target).sum(over), size, background, smooth)


def dice_plain(
    probabilities: Tensor,
    target: Tensor,
    *,
    background: bool = True,
    smooth: float = 1e-5,
    per_sample: bool = False,
) -> Tensor:
    """`dice_squared` without the squares: ``1 - (2 sum p y + s) / (sum p + sum y + s)``."""
    over = _summed(probabilities, per_sample)
    size = probabilities.sum(over) + target.sum(over)
    return _dice((probabilities * target).sum(over), size, background, smooth)


def _summed(values: Tensor, per_sample: bool) -> list[int]:
    """The axes that a Dice loss sums over."""
    return [*([] if per_sample else [0]), *range(2, values.ndim)]


def _dice(overlap: Tensor, size: Tensor, background: bool, smooth: float) -> Tensor:
    loss = 1 - (2 * overlap + smooth) / (size + smooth)
    return loss[..., 0 if background else 1 :].mean()


def supervised_loss(
    logits: Tensor, labels: Tensor, *, background: bool = True, squared: bool = True
) -> tuple[Tensor, Tensor]:
    """Cross-entropy (mean over voxels) and Dice loss of labelled patches, never in half precision.

    Args:
        logits: ``(B, K, *S)``.
        labels: ``(B, *S)``.
        background: whether class 0 counts for Dice.
        squared: `dice_squared`, else `dice_plain`.

    Returns:
        ``(CE, Dice)``, two scalars.
    """
    logits = full_precision(logits)
    ce, dice = F.cross_entropy(logits, labels), dice_squared if squared else dice_plain
    return ce, dice(logits.softmax(1), one_hot(labels, logits.shape[1]), background=background)


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


def dice_sums(
    probabilities: Tensor,
    target: Tensor,
    *,
    counts: Tensor | None = None,
    squared: bool = False,
    smooth: float = 1e-5,
) -> Tensor:
    """Dice loss per sample and class, then the mean: unlike `dice_plain`, which pools the batch.

        1 - (2 sum p q + s) / (sum p + sum q + s)      sums over voxels

    Two equal maps have loss ``1 - sum p^2 / sum p``: it also draws them to 0 and 1.

    Args:
        probabilities: ``(B, K, *S)``.
        target: likewise; need not be 0 and 1.
        counts: ``(B, 1, *S)``, 0 where voxels do not count.
        squared: squares in the denominator.
        smooth: ``s``.
    """
    if counts is not None:
        probabilities, target = probabilities * counts, target * counts
    dice = dice_squared if squared else dice_plain
    return dice(probabilities, target, smooth=smooth, per_sample=True)
