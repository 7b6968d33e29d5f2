"""AC-MT: a mean teacher that is heard only where the student is in doubt."""

from __future__ import annotations

import math
from typing import Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fewmask.components.batch_statistics import untracked
from fewmask.components.label_errors import Prune, confident_errors, prototype_labels
from fewmask.components.losses import softmax_mse
from fewmask.components.ramps import gaussian_rampup
from fewmask.components.uncertainty import entropy, monte_carlo_softmax
from fewmask.methods.base import Progress, Step, register
from fewmask.methods.mean_teacher import MeanTeacher
from fewmask.networks import Network

CHANGES = {"entropy": 0.20, "dropout": 0.15}


@register("ac-mt")
class AmbiguityConsensusMeanTeacher(MeanTeacher):
    """Ambiguity-consensus mean teacher (Xu, Wang, Lu, Luo, Yan, Zheng & Tong, Medical Image Analysis 88, 102880, 2023).

    The opposite of `ua-mt`: where the student is sure there is little to learn, so the consistency counts its ambiguous voxels alone:

        L_c = sum_v m sum_c (p_u - p'_u)^2 / (K sum_v m)

    Four ways to find them (``selector``), with ``r`` the Gaussian ramp over the whole run:

        entropy     m = 1[H(p_u) >= (threshold + change r) ln K]
        dropout     the same with the entropy of the student's mean softmax over ``passes`` noisy passes
        prototypes  the student's label is not that of the nearest class prototype of the teacher's features in the same image;
                    prototypes are means by argmax_c 1[s_c < deviation] p'_c, with s the standard deviation of sigmoid(z' / 2) over
                    ``teacher_passes`` passes: a voxel where no class is steady counts as background
        errors      confident learning takes the student's label for an error, given the teacher's probabilities; everything counts
                    where a class is missing

    ``as_released``: the mask of ``dropout`` has one channel, so its sum is ``K`` times smaller and the loss ``K`` times larger; with
    ``prototypes`` the entropy H(p_u) / ln K of the other voxels is added to the loss, its sum divided by the number of all voxels.
    """

    class Config(MeanTeacher.Config):
        """Published values; the strict setting of the entropy's threshold, which the authors recommend."""

        selector: Literal["entropy", "dropout", "prototypes", "errors"] = Field(
            "entropy", description="what finds ambiguous voxels"
        )
        threshold: float = Field(0.75, ge=0, le=1, description="first threshold, as a share of the largest entropy")
        change: float | None = Field(
            None, description="of the threshold over the run; none: 0.20 (entropy), 0.15 (dropout); earlier code: -0.15"
        )
        passes: int = Field(8, ge=2, description="stochastic passes of the student (dropout)")
        teacher_passes: int = Field(10, ge=2, description="stochastic passes of the teacher (prototypes)")
        deviation: float = Field(0.1, gt=0, description="a teacher's class is believed below it (prototypes)")
        prune: Prune = Field("both", description="rules of confident learning (errors)")
        as_released: bool = Field(
            False, description="the mask has one channel (dropout); sure voxels' entropy is added (prototypes)"
        )

        @model_validator(mode="after")
        def _release_differs(self) -> Self:
            if self.as_released and self.selector not in ("dropout", "prototypes"):
                raise ValueError(
                    f"as_released is about the selectors dropout and prototypes, not {self.selector}: leave it out"
                )
            return self

    config: Config
    year = 2023
    cost = 2.3
    idea = "mean teacher whose consistency counts only where the student is ambiguous"

    def compare(self, student: Tensor, teacher: Tensor, images: Tensor, progress: Progress, step: Step) -> Tensor:
        """The consistency loss over the ambiguous voxels."""
        ambiguous = self.ambiguous(student.detach().float(), images, progress)
        step.logs["ambiguous"] = ambiguous.float().mean()
        selector, released = self.config.selector, self.config.as_released
        one_channel = released and selector == "dropout"
        squares = softmax_mse(student, teacher).sum(1) / (1 if one_channel else self.task.num_classes)
        loss = (squares * ambiguous).sum() / (ambiguous.sum() + 1e-16)
        if not (released and selector == "prototypes"):
            return loss
        doubt = entropy(student.float().softmax(1)) / math.log(self.task.num_classes)
        return loss + (doubt * ~ambiguous).mean()

    def threshold(self, progress: Progress) -> float:
        """The entropy in nats from which a voxel is ambiguous at this iteration."""
        change = CHANGES[self.config.selector] if self.config.change is None else self.config.change
        share = self.config.threshold + change * gaussian_rampup(progress.iteration, progress.iterations)
        return share * math.log(self.task.num_classes)

    @torch.no_grad()
    def ambiguous(self, student: Tensor, images: Tensor, progress: Progress) -> Tensor:
        """Where the consistency counts, ``(B_u, *S)``, by the student's logits and the clean images."""
        selector = self.config.selector
        if selector == "entropy":
            return entropy(student.softmax(1)) >= self.threshold(progress)
        if selector == "dropout":
            with untracked(self.student):
                mean = monte_carlo_softmax(self.student, images, self.config.passes, self.config.noise)
            return entropy(mean) >= self.threshold(progress)
        labels = student.argmax(1)
        if selector == "prototypes":
            return labels != self._by_prototypes(images)
        wrong = confident_errors(labels, self.teacher(images).float().softmax(1), self.config.prune)
        return torch.ones_like(labels, dtype=torch.bool) if wrong is None else wrong

    def _by_prototypes(self, images: Tensor) -> Tensor:
        """The classes to which the teacher's features are nearest."""
        network = cast(Network, self.teacher.network)
        outputs = [network.forward_all(images) for _ in range(self.config.teacher_passes)]
        logits = torch.stack([output.logits[0].float() for output in outputs])
        probabilities = logits.softmax(2).mean(0)
        steady = (logits / 2).sigmoid().std(0) < self.config.deviation
        features = torch.stack([output.taps["last"].float() for output in outputs]).mean(0)
        return prototype_labels(features, probabilities, (steady * probabilities).argmax(1))
