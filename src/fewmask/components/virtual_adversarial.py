"""The small change of an image that changes a prediction most."""

from __future__ import annotations

import torch
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
    direction = _unit(torch.rand_like(images, dtype=torch.float32) - 0.5).requires_grad_()
    with untracked(network), torch.enable_grad():
        moved = network(images + probe * direction).float().softmax(1)
        # A mean over millions of voxels has gradients below what float16 can hold; the length is taken away anyway.
        distance = overlap_loss(moved, target.detach(), squared=squared) * target[:, 0].numel()
        (gradient,) = torch.autograd.grad(distance, direction)
    return _unit(gradient)


def _unit(change: Tensor) -> Tensor:
    """Each sample by its length."""
    length = change.flatten(1).norm(dim=1) + 1e-8
    scaled: Tensor = change / length.reshape(-1, *[1] * (change.ndim - 1))
    return scaled
