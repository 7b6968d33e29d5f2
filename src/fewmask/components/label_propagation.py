"""Labels propagate by likeness: unlabelled voxels are drawn to the remembered labelled voxels they resemble, and away from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.components.contrast import Form, Pairs, ProjectionHead, Scope, choose_pairs, contrast_loss, cosines
from fewmask.components.losses import full_precision
from fewmask.components.memory_bank import BankConfig, MemoryBank, image_numbers
from fewmask.config import Section


class PropagationConfig(Section):
    """The numbers of anchors, candidates and pairs."""

    size: int = Field(64, ge=1, description="D_f, the length of a projected vector")
    anchors: int = Field(256, ge=1, description="M, remembered vectors of a class that are drawn at a step")
    candidates: int = Field(12800, ge=2, description="N, unlabelled voxels that are drawn at a step")
    top: int = Field(64, ge=1, description="k, positives and negatives of a class; at most half the candidates")
    temperature: float = Field(0.1, gt=0, description="tau")
    scope: Scope = Field(
        "class_mean", description="candidates are ranked by their mean cosine to a class's anchors, or per anchor"
    )
    form: Form = Field("single_positive", description="one positive in each denominator, or their sum")
    candidate_filter: Literal["none", "pseudo"] = Field(
        "none",
        description="pseudo: positives only among voxels that are predicted to be of the class, negatives among the others",
    )
    start: float = Field(0.0, ge=0, lt=1, description="share of the run after which the contrast begins")


class LabelPropagation(nn.Module):
    """Projection head, memory bank and contrastive loss.

        s_ij = cos(a_i, b_j),   P, N: the k candidates b most and least like the anchors a of a class
        L = mean over classes, anchors i and positives j of
            -log e^{s_ij / tau} / (e^{s_ij / tau} + sum_{n in N} e^{s_in / tau})

    Voxels are drawn first and projected then. Anchors are constants: the loss trains the head and the network of the candidates.

    Args:
        features: channels of the feature maps.
        classes: K.
        config: see `PropagationConfig`.
        bank: see `BankConfig`.
    """

    def __init__(self, features: int, classes: int, config: PropagationConfig, bank: BankConfig) -> None:
        super().__init__()
        self.config = config
        self.head = ProjectionHead(features, config.size)
        self.bank = MemoryBank(classes, config.size, bank)

    @torch.no_grad()
    def remember(self, features: Tensor, probabilities: Tensor, labels: Tensor, cases: Sequence[str]) -> None:
        """Put labelled voxels that are predicted right into the bank, at most ``push`` of each class and image, drawn at random.

        Args:
            features: ``(B, F, *S)``.
            probabilities: ``(B, K, *S)``.
            labels: the truth ``(B, *S)``.
            cases: the images' names, ``B`` or more of them, or none.
        """
        highest, predicted = probabilities.max(1)
        right = (predicted == labels) & (highest >= self.bank.config.confidence)
        visits = [
            [self._drawn(image, (where & (truth == label)).flatten()) for label in range(probabilities.shape[1])]
            for image, where, truth in zip(features.flatten(2), right, labels, strict=True)
        ]
        self.bank.store(visits, image_numbers(cases, len(labels)))

    def _drawn(self, features: Tensor, where: Tensor) -> Tensor:
        """Projected vectors ``(n, size)`` of some of the voxels of ``(F, V)`` at which ``where`` ``(V,)`` holds."""
        places = where.nonzero().flatten()
        drawn = places[torch.randperm(len(places), device=places.device)[: self.bank.config.push]]
        rows: Tensor = self.head(full_precision(features[:, drawn].T))
        return rows

    def forward(self, features: Tensor, predicted: Tensor) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss on unlabelled voxels, and what to log of it.

        Args:
            features: ``(B, F, *S)``.
            predicted: the classes that are believed in, ``(B, *S)``; they choose pairs if so configured, and measure them.

        Returns:
            A scalar, 0 while no class is remembered; and per class the purity of its pairs, the shares of positives and of negatives on
            the right side of ``predicted``.
        """
        maps, believed = features.flatten(2), predicted.flatten()
        drawn = torch.randperm(believed.numel(), device=believed.device)[: self.config.candidates]
        rows = maps[drawn // maps.shape[2], :, drawn % maps.shape[2]]
        candidates, believed = self.head(full_precision(rows)), believed[drawn]
        losses, logs = [], dict[str, Tensor | float]()
        for label in range(len(self.bank.counts)):
            similarity = cosines(self.bank.draw(label, self.config.anchors), candidates)
            members = believed == label
            pairs = self._pairs(similarity, members)
            if pairs is None:
                continue
            losses.append(contrast_loss(similarity, pairs, self.config.temperature, self.config.form))
            logs[f"positives_pure_{label}"] = members[pairs.positives].float().mean()
            logs[f"negatives_pure_{label}"] = (~members[pairs.negatives]).float().mean()
        return torch.stack(losses).mean() if losses else 0 * candidates.sum(), logs

    def _pairs(self, similarity: Tensor, members: Tensor) -> Pairs | None:
        """None where a class is not remembered, or has no pairs."""
        if not len(similarity):
            return None
        chosen = members if self.config.candidate_filter == "pseudo" else None
        return choose_pairs(similarity, self.config.top, self.config.scope, chosen)
