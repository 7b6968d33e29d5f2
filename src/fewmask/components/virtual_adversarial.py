"""The small change of an image, or of features, that changes a prediction most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewmask.components.batch_statistics import untracked
from fewmask.components.losses import dice_loss


def overlap_loss(probabilities: Tensor, target: Tensor, *, squared: bool) -> Tensor:
    """How far two maps ``(B, K, *S)`` are apart by Dice: plain sums over all channels together, or squared ones per class."""
    if squared:
        return dice_loss(probabilities, target)
    return dice_loss(probabilities.flatten(1)[:, None], target.flatten(1)[:, None], squared=False)


def adversarial_direction(
    network: nn.Module, images: Tensor, target: Tensor, *, probe: float = 10.0, squared: bool = False
) -> Tensor:
    """One power step of virtual adversarial training (Miyato et al., TPAMI 2019): a change of length 1 for each image.

        d ~ U(-1/2, 1/2), d <- d / |d|;   g = grad_d D(softmax f(x + probe d), target);   g / |g|

    No parameter gets a gradient, and batch norm's running statistics stay as they are.

    Args:
        network: image ``(B, C, *S)`` to logits ``(B, K, *S)``.
        images: ``x``.
        target: the prediction that is to change, ``(B, K, *S)``; without gradient.
        probe: length of the first, random step.
        squared: see `overlap_loss`, which is ``D``.
    """
    direction = _start(images)
    with untracked(network), torch.enable_grad():
        moved = network(images + probe * direction).float().softmax(1)
        # A mean over millions of voxels has gradients below what float16 can hold; the length is taken away anyway.
        distance = overlap_loss(moved, target.detach(), squared=squared) * target[:, 0].numel()
        (gradient,) = torch.autograd.grad(distance, direction)
    return _unit(gradient)


def adversarial_features(
    decode: Callable[[Sequence[Tensor]], Tensor], features: Sequence[Tensor], *, probe: float, radius: float
) -> list[Tensor]:
    """Features of all levels, moved to where a decoder's own prediction changes most (one power step, as for images).

        d ~ U(-1/2, 1/2), d <- d / |d|;   g = grad_d KL(softmax f(z) || softmax f(z + probe d));   z + radius g / |g|

    Lengths are taken for each sample and level. The move itself has no gradient; the features have theirs.

    Args:
        decode: feature maps to logits ``(B, K, *S)``; should not be random, since its own noise would outdo the probe.
        features: ``z``, maps ``(B, C, *s)``.
        probe: length of the random step. Far below the features' own rounding (1e-6, say) the direction is one of rounding errors.
        radius: length of the move.
    """
    clean = [level.detach().float() for level in features]
    directions = [_start(level) for level in clean]
    with torch.no_grad():
        target = decode(clean).float().softmax(1)
    with torch.enable_grad():
        moved = decode([level + probe * d for level, d in zip(clean, directions, strict=True)])
        distance = F.kl_div(moved.float().log_softmax(1), target, reduction="sum")
        gradients = torch.autograd.grad(distance, directions)
    return [level + radius * _unit(change) for level, change in zip(features, gradients, strict=True)]


def _start(place: Tensor) -> Tensor:
    """A random change of length 1 for each sample, which is to get a gradient."""
    return _unit(torch.rand_like(place, dtype=torch.float32) - 0.5).requires_grad_()


def _unit(change: Tensor) -> Tensor:
    """Each sample by its length."""
    length = change.flatten(1).norm(dim=1) + 1e-8
    scaled: Tensor = change / length.reshape(-1, *[1] * (change.ndim - 1))
    return scaled
