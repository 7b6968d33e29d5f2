"""Two networks of which the worse one, by the labelled half of a batch, learns from the better one."""

from __future__ import annotations

import torch
from torch import Tensor


def learn_from_winner(first: Tensor, second: Tensor, first_wins: Tensor, temperature: float) -> Tensor:
    """``mean (p_loser - softmax(z_winner / T))^2`` over batch, class and voxel; the winner gets no gradient.

    Args:
        first: logits ``(B, K, *S)`` of one network.
        second: of the other.
        first_wins: a bool scalar, which no step has to wait for.
        temperature: ``T``, below 1 to sharpen.
    """
    winner = torch.where(first_wins, first, second).detach().float()
    loser = torch.where(first_wins, second, first).float()
    return (loser.softmax(1) - (winner / temperature).softmax(1)).square().mean()
