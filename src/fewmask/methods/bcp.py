"""BCP: labelled patches are pasted into unlabelled ones and the other way round."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fewmask.components.box_mix import random_box
from fewmask.components.ema import Teacher
from fewmask.components.losses import dice_loss, full_precision, masked_mean, one_hot
from fewmask.components.mask_codes import largest_components
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.errors import ConfigError
from fewmask.methods.base import Method, MethodConfig, Phase, Progress, SoftmaxPredictor, Step, register


@register("bcp")
class BidirectionalCopyPaste(Method):
    """Bidirectional copy-paste (Bai, Chen, Li, Shen & Wang, CVPR 2023).

    ``M`` is 0 in a random box with two thirds of each side and 1 around it, one box a batch. The labelled patches are halved into ``a`` and
    ``b``, the unlabelled ones into ``p`` and ``q``; ``Y`` is the largest component of each class of the teacher's argmax:

        phase pretrain  x_a M + x_b (1 - M): L(everywhere; y_a M + y_b (1 - M)), or L(M; y_a) + L(1 - M; y_b)
        phase train     x_a M + x_p (1 - M): L(M; y_a) + w L(1 - M; Y_p)
                        x_q M + x_b (1 - M): w L(M; Y_q) + L(1 - M; y_b)
        L(R; y) = ce_weight CE + dice_weight Dice, both over the region R alone

    The teacher follows the student with a fixed decay, from the weights that the pre-training ends with; no validation comes before. Dice
    has plain sums per sample and class; with ``dice_squared`` squares that are pooled over the batch, as the 2D code. At ``w = 0``
    the second phase continues the first.
    """

    class Config(MethodConfig):
        """Published values for the left atrium."""

        dice_squared: bool = Field(False, description="squares in the Dice loss's denominator, pooled over the batch")
        pretrain_iterations: int = Field(2000, ge=0, description="length of the pre-training on labelled pairs")
        pretrain_loss: Literal["whole", "regions"] = Field(
            "whole",
            description="of the pre-training, over the whole patch, as in 3D, or the sum over both regions, as in 2D",
        )
        unlabelled: RampConfig = Field(
            RampConfig(weight=0.5, shape="constant"), description="w, the weight of regions with pseudo-labels"
        )
        box: float = Field(2 / 3, gt=0, lt=1, description="sides of the box, as a share of the patch's")
        largest_component: bool = Field(True, description="pseudo-labels keep one component of each class")
        ema_decay: float = Field(0.99, ge=0, lt=1, description="decay of the teacher's moving average, from the start")
        ema_buffers: Literal["own", "average"] = Field(
            "own", description="running statistics: the teacher's own, as in 3D, or averaged like weights, as in 2D"
        )

    config: Config
    family = "mixing"
    year = 2023
    networks = "1 + teacher"
    cost = 1.3
    idea = "labelled boxes pasted into unlabelled images and the other way round, after training on labelled pairs"

    def build(self) -> None:
        """The student, and a teacher that starts as its copy."""
        self.student = self.build_network()
        self.teacher = Teacher(self.student, self.config.ema_decay, self.config.ema_buffers, early=False)

    def phases(self) -> list[Phase]:
        """Labelled pairs, then both kinds of patches."""
        pretrain = Phase("pretrain", self.config.pretrain_iterations, unlabelled=False, validated=False)
        return [*([pretrain] if self.config.pretrain_iterations else []), Phase("train")]

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The loss of mixed patches."""
        a, b = halves(batch.labelled, "labelled")
        y_a, y_b = halves(batch.labels, "labelled")
        inside = random_box(batch.labelled.shape[2:], self.config.box, batch.labelled.device)
        if progress.phase == "pretrain" or not self.config.unlabelled.weight:
            mixed, whole = self.student(torch.where(inside, b, a)), torch.ones_like(inside)
            if self.config.pretrain_loss == "regions":
                return self._region(mixed, y_a, ~inside).join(self._region(mixed, y_b, inside), "out")
            return self._region(mixed, torch.where(inside, y_b, y_a), whole)
        p, q = halves(batch.unlabelled, "unlabelled")
        found = self._pseudo_labels(batch.unlabelled[: 2 * len(p)])
        count = min(len(a), len(p))
        a, b, p, q, y_a, y_b = (one[:count] for one in (a, b, p, q, y_a, y_b))
        y_p, y_q = (half[:count] for half in halves(found, "unlabelled"))
        pasted_in, pasted_out = (self.student(torch.where(inside, *pair)) for pair in ((p, a), (b, q)))
        step = self._region(pasted_in, y_a, ~inside).join(self._region(pasted_out, y_b, inside), "out")
        unsure = self._region(pasted_in, y_p, inside).loss + self._region(pasted_out, y_q, ~inside).loss
        return step.add("unlabelled", unsure, self.config.unlabelled.at(progress)).watch(found)

    def after_step(self, progress: Progress) -> None:
        """Moves the teacher towards the student; it begins where the pre-training ends."""
        if progress.phase != "pretrain":
            self.teacher.update(self.student)
        elif progress.iteration + 1 == progress.iterations:
            self.teacher.network.load_state_dict(self.student.state_dict())

    def predictor(self) -> nn.Module:
        """The student."""
        return SoftmaxPredictor(self.student)

    @torch.no_grad()
    def _pseudo_labels(self, images: Tensor) -> Tensor:
        labels = self.teacher(images).argmax(1)
        return largest_components(labels, self.task.num_classes) if self.config.largest_component else labels

    def _region(self, logits: Tensor, labels: Tensor, region: Tensor) -> Step:
        """``L(R; y)``: cross-entropy and Dice over the voxels of a region ``(*S)``."""
        config, logits = self.config, full_precision(logits)
        mask = region.expand(len(logits), 1, *region.shape)
        ce = masked_mean(F.cross_entropy(logits, labels, reduction="none").unsqueeze(1), mask)
        dice = dice_loss(
            logits.softmax(1),
            one_hot(labels, logits.shape[1]),
            squared=config.dice_squared,
            background=config.dice_background,
            per_sample=not config.dice_squared,
            counts=mask.to(logits.dtype),
        )
        return Step(config.ce_weight * ce + config.dice_weight * dice, {"ce": ce.detach(), "dice_loss": dice.detach()})


def halves(values: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """The first and the second half of a batch; of an odd number the last is left out."""
    count = len(values) // 2
    if not count:
        raise ConfigError(f"bcp pastes {name} patches into each other: set sampling.{name} to 2 or more")
    return values[:count], values[count : 2 * count]
