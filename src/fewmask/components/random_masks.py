"""Label maps drawn at random: shapes of every class, with which an autoencoder can learn masks before it has seen one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def random_masks(count: int, shape: Sequence[int], num_classes: int, device: torch.device | str = "cpu") -> Tensor:
    """Label maps of ellipses with wavy outlines, from torch's generator.

    Every foreground class has up to two of them, drawn in random order, so that each can cover each other. Their half axes are 5 to 35 % of the sides.

    Args:
        count: of label maps, ``B``.
        shape: ``(H, W)``.
        num_classes: with the background.
        device: where they are drawn.

    Returns:
        ``(B, H, W)``, int64.
    """
    waves = F.interpolate(torch.randn(count, 2 * num_classes, 6, 6, device=device), tuple(shape), mode="bicubic")
    labels = torch.zeros(count, *shape, dtype=torch.long, device=device)
    classes = torch.cat([1 + torch.randperm(num_classes - 1, device=device) for _ in range(2)])
    for number, label in enumerate(classes):
        inside = _ellipses(count, shape, device) + 0.25 * waves[:, number] < 1
        drawn = torch.rand(count, 1, 1, device=device) < (0.85 if number < num_classes - 1 else 0.4)
        labels = torch.where(inside & drawn, label, labels)
    return labels


def _ellipses(count: int, shape: Sequence[int], device: torch.device | str) -> Tensor:
    """Distance from a random centre in the metric of random half axes, ``(B, H, W)``: below 1 inside the ellipse."""
    centre, axes = torch.rand(2, count, 1, 1, device=device), 0.05 + 0.3 * torch.rand(2, count, 1, 1, device=device)
    angle = math.pi * torch.rand(count, 1, 1, device=device)
    y, x = torch.meshgrid(*(torch.linspace(0, 1, side, device=device) for side in shape), indexing="ij")
    dy, dx = y - centre[0], x - centre[1]
    along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    return ((along / axes[0]).square() + (across / axes[1]).square()).sqrt()
