"""Voxels whose label is probably wrong: by confident learning, and by the nearest class prototype."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Prune = Literal["both", "class", "noise_rate"]


@torch.no_grad()
def confident_errors(labels: Tensor, probabilities: Tensor, prune: Prune = "both") -> Tensor | None:
    """Label errors by confident learning (Northcutt, Jiang & Chuang, JAIR 2021), over all voxels together.

        t_j = mean p_j over label j;   a voxel votes for j* = argmax {p_j : p_j >= t_j}
        Q_ij = voxels of label i that vote for j, each row scaled to the N_i voxels of label i and rounded
        class:       of label i the sum_{j != i} Q_ij voxels with the lowest p_i
        noise_rate:  of label i, for each j != i, the Q_ij voxels with the largest p_j - p_i

    A label that is the most probable class is no error, however many the counts ask for; so does the authors' library.

    Args:
        labels: ``(B, *S)``, believed less.
        probabilities: ``(B, K, *S)``, believed more.
        prune: one of the rules, or what both flag.

    Returns:
        bool ``(B, *S)``; None where a class has no voxel, for then there is no threshold.
    """
    classes = probabilities.shape[1]
    given, p = labels.flatten(), probabilities.float().movedim(1, -1).flatten(0, -2)
    sizes = torch.bincount(given, minlength=classes)
    if bool((sizes == 0).any()):
        return None
    thresholds = torch.stack([p[given == j, j].mean() for j in range(classes)])
    voted = torch.where(p >= thresholds, p, -torch.inf).max(1)
    counted = voted.values > -torch.inf
    pairs = torch.bincount((given * classes + voted.indices)[counted], minlength=classes**2).reshape(classes, classes)
    noise = (pairs * (sizes / pairs.sum(1).clamp(min=1))[:, None]).round().long()
    flags = [torch.zeros_like(given, dtype=torch.bool) for _ in range(2)]
    for i in range(classes):
        own = (given == i).nonzero().flatten()
        wrong = int(noise[i].sum() - noise[i, i])
        flags[0][own[p[own, i].topk(min(wrong, len(own)), largest=False).indices]] = True
        for j in set(range(classes)) - {i}:
            flags[1][own[(p[own, j] - p[own, i]).topk(min(int(noise[i, j]), len(own))).indices]] = True
    found = {"class": flags[0], "noise_rate": flags[1], "both": flags[0] & flags[1]}[prune]
    return (found & (p.argmax(1) != given)).reshape(labels.shape)


@torch.no_grad()
def prototype_labels(features: Tensor, probabilities: Tensor, believed: Tensor) -> Tensor:
    """The class whose prototype is nearest in squared Euclidean distance; every image has prototypes of its own.

        q_c = sum_v 1[label v = c] p_c f / sum_v 1[label v = c] p_c

    Args:
        features: ``(B, F, *S)``.
        probabilities: ``(B, K, *S)``, the weights.
        believed: labels ``(B, *S)``; in an image, a class without any has no prototype, and no voxel.

    Returns:
        Labels ``(B, *S)``.
    """
    maps, p = (one.float().flatten(2) for one in (features, probabilities))
    given, distances = believed.flatten(1), []
    for label in range(p.shape[1]):
        weights = torch.where(given == label, p[:, label], 0.0)[:, None]
        total = weights.sum(2, keepdim=True)
        prototype = (weights * maps).sum(2, keepdim=True) / total.clamp(min=1e-12)
        distance = (maps - prototype).square().sum(1)
        distances.append(torch.where(total[:, 0] > 0, distance, torch.inf))
    return torch.stack(distances).argmin(0).reshape(believed.shape)
