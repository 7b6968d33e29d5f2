"""Mean teacher: a student learns to agree with the average of its own past weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from fewmask.components.ema import Teacher
from fewmask.components.losses import softmax_mse
from fewmask.components.noise import consistency_noise
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, SoftmaxPredictor, Step, register


@register("mean-teacher")
class MeanTeacher(Method):
    """Mean teacher (Tarvainen & Valpola, NeurIPS 2017), in its voxel-wise form.

    The student sees ``x_l`` and ``x_u`` in one batch; the teacher, whose weights are the moving average of the student's,
    sees ``x_u + n`` with clipped Gaussian noise ``n``, without gradient and in train mode:

        L = L_sup + lambda(i) mean ||softmax(z_u) - softmax(z'_u)||^2
        theta' <- a_i theta' + (1 - a_i) theta,   a_i = min(1 - 1 / (i + 1), ema_decay)

    The mean runs over batch, class and voxel; ``lambda(i)`` is the Gaussian ramp.
    """

    class Config(MethodConfig):
        """Published values: decay 0.99, weight 0.1, ramp over the run (6000 iterations) in 40 steps."""

        ema_decay: float = Field(0.99, ge=0, lt=1, description="decay of the teacher's moving average")
        consistency: RampConfig = Field(
            RampConfig(weight=0.1), description="lambda(i), the weight of the consistency loss"
        )
        noise: float = Field(
            0.1, ge=0, description="standard deviation of the teacher's input noise, clipped at twice this"
        )
        predict_with: Literal["student", "teacher"] = Field(
            "student", description="which network predicts; benchmarks take the student"
        )

    config: Config
    family = "mean teacher"
    year = 2017
    networks = "1 + teacher"
    cost = 2.3
    idea = "agree with the moving average of one's own weights under input noise"

    def build(self) -> None:
        """The student, and a teacher that starts as its copy."""
        self.student = self.build_network()
        self.teacher = Teacher(self.student, self.config.ema_decay)

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """Supervised loss plus the ramped consistency loss."""
        logits = self.student(batch.images)
        step = self.supervised(logits, batch.labels)
        target = self.teacher(consistency_noise(batch.unlabelled, self.config.noise))
        consistency = self.compare(logits[len(batch.labels) :], target, batch.unlabelled, progress, step)
        return step.add("consistency", consistency, self.config.consistency.at(progress)).watch(target.argmax(1))

    def compare(self, student: Tensor, teacher: Tensor, images: Tensor, progress: Progress, step: Step) -> Tensor:
        """The consistency loss of two networks' unlabelled logits ``(B_u, K, *S)``; what a variant of mean teacher replaces."""
        return softmax_mse(student, teacher).mean()

    def after_step(self, progress: Progress) -> None:
        """Moves the teacher towards the student."""
        self.teacher.update(self.student)

    def predictor(self) -> nn.Module:
        """Student or teacher, as configured."""
        return SoftmaxPredictor(self.student if self.config.predict_with == "student" else self.teacher.network)
