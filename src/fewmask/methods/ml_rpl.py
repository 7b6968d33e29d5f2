"""ML-RPL: decoders take each other's labels, where the other is surer and its features agree with it."""

from __future__ import annotations

from itertools import permutations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fewmask.components.uncertainty import entropy
from fewmask.methods.base import Step, register
from fewmask.methods.decoders import DecodersMethod
from fewmask.networks import NetworkOutput
from fewmask.networks.blocks import UpStep


@register("ml-rpl")
class ReliablePseudoLabels(DecodersMethod):
    """Mutual learning with reliable pseudo-labels (Su, Luo, Lian, Lin & Li, Medical Image Analysis 94, 103111, 2024).

    One encoder, two decoders, on labelled and unlabelled patches. From decoder ``j`` decoder ``i`` learns the voxels of which ``j`` is surer,
    each as far as the features of ``j`` say the same as its probabilities:

        m = 1[H(p^i) > H(p^j)],   s_c(v) = cos(f^j(v), q_c),   r(v) = 1/K sum_c (1 - (s_c - p^j_c)^2)
        L_ij = sum_v r m CE(z^i, argmax p^j) / (sum_v m + 1e-6)
        L = sum_k L_sup(z_l^k, y) + lambda(i) sum_{i != j} L_ij

    ``q_c`` is the mean of the last features where an image is labelled ``c`` by ``j``; neither ``r`` nor ``m`` carries a gradient. ``L_sup`` is
    half the Dice loss of the foreground.
    """

    default_decoders: ClassVar[dict[int, list[UpStep]]] = {2: ["linear", "nearest"], 3: ["transposed", "nearest"]}
    year = 2024
    networks = "1 with 2 decoders"
    cost = 3.3
    idea = "decoders take each other's labels where the other is surer and its features agree"

    def agree(self, output: NetworkOutput, start: int, step: Step) -> Tensor:
        """Every decoder against every other one's labels."""
        seen = [logits[start:] for logits in output.logits]
        taps = [output.taps["last" if k == 0 else f"last.{k}"][start:].detach().float() for k in range(len(seen))]
        trust = [reliability(maps, logits.detach().softmax(1)) for maps, logits in zip(taps, seen, strict=True)]
        step.logs["reliability"] = torch.stack(trust).mean()
        pairs = permutations(range(len(seen)), 2)
        return torch.stack([learn_from_surer(seen[i], seen[j], trust[j]) for i, j in pairs]).sum()


@torch.no_grad()
def reliability(features: Tensor, probabilities: Tensor) -> Tensor:
    """``r``: how far the cosine of a voxel's features with each class's mean says the same as its probabilities.

    A class that an image does not show has cosine 0 with everything. Features below 0, as leaky activations give, can make ``r``
    negative; it is then 0.

    Args:
        features: ``(B, F, *S)``.
        probabilities: ``(B, K, *S)``.

    Returns:
        ``(B, *S)`` in [0, 1].
    """
    classes = probabilities.shape[1]
    labels = F.one_hot(probabilities.argmax(1).flatten(1), classes).float()  # (B, N, K)
    maps = features.flatten(2)  # (B, F, N)
    prototypes = F.normalize(maps @ labels, dim=1)  # sums and means have one direction
    cosines = (prototypes.transpose(1, 2) @ F.normalize(maps, dim=1)).reshape(probabilities.shape)
    return (1 - (cosines - probabilities).square()).mean(1).clamp(min=0)


def learn_from_surer(student: Tensor, teacher: Tensor, trust: Tensor) -> Tensor:
    """``L_ij``: cross-entropy of logits ``(B, K, *S)`` against another decoder's argmax where that one's entropy is lower."""
    with torch.no_grad():
        surer = (entropy(student.softmax(1)) > entropy(teacher.softmax(1))).float()
        weights, labels = trust * surer, teacher.argmax(1)
    return (weights * F.cross_entropy(student, labels, reduction="none")).sum() / (surer.sum() + 1e-6)
