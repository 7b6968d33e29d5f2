"""UA-MT: a mean teacher that is heard only where it is sure."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor

from fewmask.components.losses import masked_mean, softmax_mse
from fewmask.components.ramps import gaussian_rampup
from fewmask.components.uncertainty import entropy, monte_carlo_softmax
from fewmask.methods.base import Progress, Step, register
from fewmask.methods.mean_teacher import MeanTeacher


@register("ua-mt")
class UncertaintyAwareMeanTeacher(MeanTeacher):
    """Uncertainty-aware mean teacher (Yu, Wang, Li, Fu & Heng, MICCAI 2019).

    The teacher's uncertainty is the entropy of its mean softmax over ``T`` passes with dropout and independent input noise;
    the consistency loss counts only voxels below a threshold that rises over the run:

        mu = 1/T sum_t softmax(z'^(t)),   U = -sum_c mu_c ln(mu_c + 1e-6),   m = 1[U < tau(i)]
        tau(i) = (threshold + (1 - threshold) r(i; i_max)) ln K,   r the Gaussian ramp
        L_c = sum_v m sum_c (p_u - p'_u)^2 / (K sum_v m)

    The release divides by ``2 sum m``, which is ``K`` for its binary task; here it is ``K`` for any number of classes. The ramp in
    ``tau`` runs over the whole training, as released.
    """

    class Config(MeanTeacher.Config):
        """Published values: 8 passes, threshold from 3/4 of the largest entropy."""

        passes: int = Field(8, ge=2, description="T, stochastic passes of the teacher")
        threshold: float = Field(
            0.75, ge=0, le=1, description="first threshold, as a share of the largest entropy ln K"
        )

    config: Config
    year = 2019
    cost = 5.0
    idea = "mean teacher whose consistency counts only where Monte-Carlo dropout finds the teacher certain"

    def compare(self, student: Tensor, teacher: Tensor, images: Tensor, progress: Progress, step: Step) -> Tensor:
        """The consistency loss where the mean of the teacher's passes is certain."""
        mean = monte_carlo_softmax(self.teacher, images, self.config.passes, self.config.noise)
        certain = (entropy(mean) < self.threshold(progress)).unsqueeze(1)
        step.logs["certain"] = certain.float().mean()
        return masked_mean(softmax_mse(student, teacher), certain)

    def threshold(self, progress: Progress) -> float:
        """The entropy in nats under which the teacher is believed at this iteration."""
        start = self.config.threshold
        return (start + (1 - start) * gaussian_rampup(progress.iteration, progress.iterations)) * math.log(
            self.task.num_classes
        )
