"""Boxes exchanged between two halves of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def random_box(shape: Sequence[int], share: float, device: torch.device | str = "cpu") -> Tensor:
    """Where a random box lies whose sides are ``share`` of an image's, rounded down: bool ``(*S)``, from torch's generator."""
    inside = torch.ones((), dtype=torch.bool, device=device)
    for axis, side in enumerate(shape):
        length = int(share * side)
        start = torch.randint(side - length + 1, (), device=device)
        place = torch.arange(side, device=device)
        within = (place >= start) & (place < start + length)
        inside = inside & within.reshape([-1 if axis == k else 1 for k in range(len(shape))])
    return inside


def exchange(first: Tensor, second: Tensor, inside: Tensor) -> Tensor:
    """Both halves with each other's contents in the box, one after the other: ``(B, C, *S)`` each to ``(2 B, C, *S)``."""
    return torch.cat([torch.where(inside, second, first), torch.where(inside, first, second)])
