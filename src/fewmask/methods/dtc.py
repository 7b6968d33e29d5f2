"""DTC: mask and signed distance map of one network say the same."""

from __future__ import annotations

from pydantic import Field

from fewmask.components.dual_task import mask_of
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Progress, Step, register
from fewmask.methods.dual_task import DualTaskConfig, DualTaskMethod


@register("dtc")
class DualTaskConsistency(DualTaskMethod):
    """Dual-task consistency (Luo, Chen, Song & Wang, AAAI 2021).

    One network with two outputs: the segmentation ``p`` and, per foreground class, a signed distance ``s`` in (-1, 1), negative inside. What
    the distance says of the mask must be what the segmentation says, on labelled and unlabelled patches:

        L = L_sup(z_l, y) + distance_weight mean (s_l - S(y))^2 + lambda(i) mean (sigmoid(-slope s) - p)^2

    ``S`` is the normalised signed distance map of the label's patch, and ``L_sup`` the Dice loss of the foreground. A patch without a class
    is far from it everywhere, ``S = 1``. The released code has ``S = 0`` there, which asks for half a mask: ``as_released``.
    """

    class Config(DualTaskConfig):
        """Published values: Dice alone, distance 0.3, consistency 1, slope 1500."""

        consistency: RampConfig = Field(
            RampConfig(weight=1.0), description="lambda(i), the weight of the consistency of both tasks"
        )
        slope: float = Field(1500.0, gt=0, description="how steeply a distance becomes a mask at the border")

    config: Config
    family = "task consistency"
    year = 2021
    networks = "1 with 2 heads"
    cost = 2.0
    idea = "segmentation and signed distance map of one network agree"

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """Dice, distance error, ramped consistency of the whole batch."""
        config, count = self.config, len(batch.labels)
        whole = bool(config.consistency.weight)
        logits, distances = self.network.both(batch.images if whole else batch.labelled)
        step = self.both_tasks(logits, distances, batch)
        if whole:
            apart = mask_of(distances, config.slope) - logits.softmax(1)[:, 1:]
            step.add("consistency", apart.square().mean(), config.consistency.at(progress))
            step.watch(logits[count:].argmax(1))
        return step
