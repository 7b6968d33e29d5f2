"""Class-wise contrast with a small memory that is written anew at every step."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fewmask.components.batch_statistics import in_eval_mode
from fewmask.components.contrast import ProjectionHead
from fewmask.config import Section


class SeparationConfig(Section):
    """Published sizes."""

    size: int = Field(32, ge=2, description="length of projected vectors")
    slots: int = Field(32, ge=2, description="vectors in the memory of a class")
    keep: Literal["highest", "lowest"] = Field("highest", description="by the selector's score: what enters the memory")
    background: bool = Field(True, description="the background has a memory, too")
    fallback: bool = Field(True, description="a class that was never predicted right remembers all its labelled voxels")
    samples: int | None = Field(
        None, ge=2, description="voxels of a class that are compared, drawn at random; none: all"
    )


class ClassSeparation(nn.Module):
    """Features of a class come near a memory of that class; selectors learn which of both to believe.

        L = 1/K sum_c mean_ij w_i w'_j (1 - cos(g_i, m_j)),   w_i = N sigma(sel_c(g_i)) / sum sigma,   w'_j likewise of m / |m|

    ``g`` are features through the projection and the prediction head, ``m`` the memory. The voxels of all classes pass the heads together:
    batch norm over one class alone would take away what tells it from the others. The sum over pairs is a product of two weighted means,
    so it costs no more than one of them. The selectors see their input without gradient.

    Args:
        features: channels of the feature maps.
        num_classes: K, with the background, also where that has no memory.
        config: sizes.
    """

    memory: Tensor
    filled: Tensor

    def __init__(self, features: int, num_classes: int, config: SeparationConfig) -> None:
        super().__init__()
        self.config, self.num_classes, size = config, num_classes, config.size
        self.first = 0 if config.background else 1
        self.projection = ProjectionHead(features, size, batch_norm=True)
        self.prediction = ProjectionHead(size, size, batch_norm=True)
        count = num_classes - self.first
        self.selectors = nn.ModuleList(_selector(size) for _ in range(count))
        self.memory_selectors = nn.ModuleList(_selector(size) for _ in range(count))
        self.register_buffer("memory", torch.zeros(count, config.slots, size))
        self.register_buffer("filled", torch.zeros(count, dtype=torch.int64))

    @torch.no_grad()
    def remember(self, features: Tensor, labels: Tensor, predicted: Tensor) -> None:
        """Put the voxels with the best scores into the memory, of those of a class that are predicted right.

        A class of which none has ever been right takes all its voxels, by ``fallback``; one that is not in the batch keeps what it has.

        Args:
            features: ``(B, F, *S)`` of labelled patches.
            labels: ``(B, *S)``.
            predicted: ``(B, *S)``.
        """
        maps, given, right = rows(features), labels.flatten(), (labels == predicted).flatten()
        with in_eval_mode(self):
            for place, selector in enumerate(self.selectors):
                own = given == place + self.first
                chosen = own & right
                if self.config.fallback and int(self.filled[place]) == 0 and not bool(chosen.any()):
                    chosen = own
                found = maps[chosen]
                if len(found) < 2:
                    continue
                projected = self.projection(found)
                scores = selector(projected).squeeze(1)
                best = scores.topk(min(self.config.slots, len(scores)), largest=self.config.keep == "highest").indices
                self.memory[place, : len(best)] = projected[best]
                self.filled[place] = len(best)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """``L`` of feature maps ``(B, F, *S)`` by labels or predicted classes ``(B, *S)``; classes without voxels or memory count 0."""
        given = labels.flatten()
        chosen = [self._drawn(given == c) for c in range(self.num_classes)]
        found = rows(features)[torch.cat(chosen)]
        terms = [found.new_zeros(())]
        if len(found) > 1:
            vectors = self.prediction(self.projection(found)).split([len(own) for own in chosen])[self.first :]
            for place, own in enumerate(vectors):
                if len(own) > 1 and int(self.filled[place]) > 1:
                    terms.append(self._apart(place, own))
        return torch.stack(terms).sum() / self.num_classes

    def _drawn(self, own: Tensor) -> Tensor:
        """Where a mask of voxels is true: all places, or as many as are compared."""
        places = own.nonzero().flatten()
        if not self.config.samples:
            return places
        return places[torch.randperm(len(places), device=places.device)[: self.config.samples]]

    def _apart(self, place: int, vectors: Tensor) -> Tensor:
        """One class: 1 minus the product of the weighted means of unit vectors."""
        memory = F.normalize(self.memory[place, : int(self.filled[place])], dim=1)
        weights = _weights(self.selectors[place](vectors.detach()))
        theirs = _weights(self.memory_selectors[place](memory))
        mine = (weights * F.normalize(vectors, dim=1)).mean(0)
        return 1 - mine @ (theirs * memory).mean(0)


def rows(features: Tensor) -> Tensor:
    """Feature maps ``(B, F, *S)`` as vectors ``(B * voxels, F)``, float32."""
    return features.float().movedim(1, -1).flatten(0, -2)


def _weights(scores: Tensor) -> Tensor:
    """Scores ``(N, 1)`` as weights with mean 1."""
    shares = scores.sigmoid()
    return shares / shares.mean()


def _selector(size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, size), nn.BatchNorm1d(size), nn.LeakyReLU(0.2), nn.Linear(size, 1))
