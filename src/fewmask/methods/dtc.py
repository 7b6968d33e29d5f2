"""DTC: mask and signed distance map of one network say the same."""

from __future__ import annotations

from pydantic import Field

from fewmask.components.dual_task import DualTaskNetwork, distances_of, mask_of
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, Step, register


@register("dtc")
class DualTaskConsistency(Method):
    """Dual-task consistency (Luo, Chen, Song & Wang, AAAI 2021).

    One network with two outputs: the segmentation ``p`` and, per foreground class, a signed distance ``s`` in (-1, 1), negative inside. What
    the distance says of the mask must be what the segmentation says, on labelled and unlabelled patches:

        L = L_sup(z_l, y) + distance_weight mean (s_l - S(y))^2 + lambda(i) mean (sigmoid(-slope s) - p)^2

    ``S`` is the normalised signed distance map of the label's patch, and ``L_sup`` the Dice loss of the foreground. A patch without a class
    is far from it everywhere, ``S = 1``. The released code has ``S = 0`` there, which asks for half a mask: ``as_released``.
    """

    class Config(MethodConfig):
        """Published values: Dice alone, distance 0.3, consistency 1, slope 1500."""

        ce_weight: float = Field(0.0, ge=0, description="weight of the cross-entropy on labelled patches")
        dice_weight: float = Field(1.0, ge=0, description="weight of the Dice loss on labelled patches")
        dice_background: bool = Field(False, description="average the Dice loss over all classes")
        distance_weight: float = Field(0.3, ge=0, description="weight of the squared error of the distances")
        consistency: RampConfig = Field(
            RampConfig(weight=1.0), description="lambda(i), the weight of the consistency of both tasks"
        )
        slope: float = Field(1500.0, gt=0, description="how steeply a distance becomes a mask at the border")
        as_released: bool = Field(False, description="distance 0 where a patch shows nothing of a class")

    config: Config
    distance_maps = True
    family = "task consistency"
    year = 2021
    networks = "1 with 2 heads"
    cost = 2.0
    idea = "segmentation and signed distance map of one network agree"

    def build(self) -> None:
        """One network with a logit and a distance per foreground class."""
        foreground = self.task.num_classes - 1
        self.network = DualTaskNetwork(self.build_network(out_channels=foreground, heads={"distance": foreground}))

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """Dice, distance error, ramped consistency of the whole batch."""
        config, count, classes = self.config, len(batch.labels), self.task.num_classes
        whole = bool(config.consistency.weight)
        logits, distances = self.network.both(batch.images if whole else batch.labelled)
        goal = distances_of(batch, classes, absent=0.0 if config.as_released else 1.0)
        step = self.supervised(logits, batch.labels)
        step.add("distance", (distances[:count] - goal).square().mean(), config.distance_weight)
        if whole:
            apart = mask_of(distances, config.slope) - logits.softmax(1)[:, 1:]
            step.add("consistency", apart.square().mean(), config.consistency.at(progress))
            step.logs["pseudo_foreground"] = (logits[count:].argmax(1) > 0).float().mean()
        return step
