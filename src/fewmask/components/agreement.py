"""Where and how much two networks differ."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewmask.components.losses import masked_mean
from fewmask.components.pseudo_labels import confident_labels


@torch.no_grad()
def confident_mask(first: Tensor, second: Tensor, confidence: float, operator: Literal["xor", "or"] = "xor") -> Tensor:
    """Voxels ``(B, 1, *S)`` that one network is sure are foreground and the other is not.

    With several foreground classes, voxels where both are sure of different ones belong to it too.

    Args:
        first: probabilities ``(B, K, *S)``.
        second: the other network's.
        confidence: ``tau``.
        operator: ``or`` takes all voxels of which at least one network is sure.
    """
    sure = [confident_labels(one, confidence) for one in (first, second)]
    mask = sure[0] != sure[1] if operator == "xor" else (sure[0] > 0) | (sure[1] > 0)
    return mask.unsqueeze(1)


def disagreement_loss(first: Tensor, second: Tensor, mask: Tensor, distance: Literal["mse", "kl"] = "mse") -> Tensor:
    """Distance of two networks' probabilities, averaged over a mask; the gradient goes to both.

        mse: sum_v M sum_{c > 0} (p_1 - p_2)^2 / sum_v M        kl: (KL(p_1 | p_2) + KL(p_2 | p_1)) / 2 in its place

    Args:
        first: probabilities ``(B, K, *S)``.
        second: the other network's, or a one-hot reference.
        mask: ``(B, 1, *S)``; an empty one gives 0.
        distance: of two probability vectors.
    """
    if distance == "mse":
        return masked_mean((first - second)[:, 1:].square().sum(1, keepdim=True), mask)
    logs = [one.clamp_min(1e-12).log() for one in (first, second)]
    return masked_mean(0.5 * ((first - second) * (logs[0] - logs[1])).sum(1, keepdim=True), mask)


def cosine_loss(first: Tensor, second: Tensor) -> Tensor:
    """``mean (1 - cos(p_1, p_2))`` over voxels, of probability vectors ``(B, K, *S)``."""
    return (1 - F.cosine_similarity(first, second, dim=1)).mean()


def rectified_loss(student: Tensor, teacher: Tensor, temperature: float = 0.5, *, hard: bool = False) -> Tensor:
    """Cross-entropy against another network's prediction, trusted less where both differ (RCPS, Zhao et al. 2023).

        mean[exp(-KL) CE] + mean[KL],   KL = sum_c p_t ln(p_t / p_s),   CE = -sum_c softmax(z_t / T)_c ln p_s

    Args:
        student: logits ``(B, K, *S)``; takes the gradient, through the weight exp(-KL) too.
        teacher: logits of the other network, without gradient.
        temperature: ``T``; below 1 it sharpens the target.
        hard: the target is the teacher's argmax, so that T means nothing.
    """
    teacher = teacher.detach().float()
    log_student, log_teacher = student.float().log_softmax(1), teacher.log_softmax(1)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(1)
    if hard:
        ce = F.nll_loss(log_student, teacher.argmax(1), reduction="none")
    else:
        ce = -((teacher / temperature).softmax(1) * log_student).sum(1)
    return (torch.exp(-divergence) * ce).mean() + divergence.mean()
