"""What methods whose network gives signed distance maps beside its segmentation share."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from fewmask.components.dual_task import DualTaskNetwork, distances_of
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Step


class DualTaskConfig(MethodConfig):
    """Published values: the Dice loss of the foreground alone, and distances at weight 0.3."""

    ce_weight: float = Field(0.0, ge=0, description="weight of the cross-entropy on labelled patches")
    dice_weight: float = Field(1.0, ge=0, description="weight of the Dice loss on labelled patches")
    dice_background: bool = Field(False, description="average the Dice loss over all classes")
    distance_weight: float = Field(0.3, ge=0, description="weight of the squared error of the distances")
    as_released: bool = Field(False, description="distance 0 where a patch shows nothing of a class")


class DualTaskMethod(Method):
    """Base: ``L_sup(z_l, y) + distance_weight mean (s_l - S(y))^2``."""

    Config = DualTaskConfig
    config: DualTaskConfig
    distance_maps = True

    def build(self) -> None:
        """One network with a logit and a distance per foreground class."""
        foreground = self.task.num_classes - 1
        self.network = DualTaskNetwork(self.build_network(out_channels=foreground, heads={"distance": foreground}))

    def both_tasks(self, logits: Tensor, distances: Tensor, batch: Batch) -> Step:
        """What the labels say of logits ``(B, K, *S)`` and signed distances ``(B, K - 1, *S)``, the labelled patches' first."""
        goal = distances_of(batch, self.task.num_classes, absent=0.0 if self.config.as_released else 1.0)
        error = (distances[: len(batch.labels)] - goal).square().mean()
        return self.supervised(logits, batch.labels).add("distance", error, self.config.distance_weight)
