"""URPC: the scales of one decoder agree, each as far as it is near their mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, Step, register

DEFAULTS = {2: "unet-2d", 3: "unet-3d"}


@register("urpc")
class PyramidConsistency(Method):
    """Uncertainty rectified pyramid consistency (Luo et al., MICCAI 2021; Medical Image Analysis 80, 102517, 2022).

    A U-Net with one head per decoder stage, ``S = 4`` predictions ``p^s`` at full size. Where a scale departs from their mean, it is
    believed less, and departing costs:

        p = 1/S sum_s p^s,   D_s(v) = sum_c p_c ln(p_c / p^s_c),   w_s = exp(-D_s)
        L_c = 1/S sum_s [mean(w_s ||p - p^s||^2) / (mean w_s + 1e-8) + mean D_s]          on unlabelled patches
        L = 1/S sum_s L_sup(z_l^s, y) + lambda(i) L_c

    The squares are averaged over classes, and the gradient goes through ``p`` and ``w_s``, too. In 3D the published network is the 3D
    U-Net, which is what a run without ``network.name`` takes. Each ``p^s`` of ``L_c``, in logarithms and squares alike, is
    ``(1 - blend) softmax + blend / K``, as a public library does, so that nothing is divided by zero.
    """

    class Config(MethodConfig):
        """Published values: weight 0.1."""

        consistency: RampConfig = Field(
            RampConfig(weight=0.1), description="lambda(i), the weight of the consistency between scales"
        )
        blend: float = Field(0.01, ge=0, lt=1, description="share of the uniform distribution in probabilities")

    config: Config
    family = "multi-decoder"
    year = 2021
    networks = "1 with 4 heads"
    cost = 2.0
    idea = "predictions of four scales agree, weighed down where one departs from their mean"

    def build(self) -> None:
        """One network with four heads."""
        name = self.network_config.name or DEFAULTS[self.task.spatial_dims]
        self.network = self.build_network(name, pyramid=True)

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The mean supervised loss of the scales plus the ramped consistency."""
        scales, count = [one.float() for one in self.network.forward_all(batch.images).logits], len(batch.labels)
        step = self.supervised_all(scales, batch.labels)
        step.loss = step.loss / len(scales)
        uniform = self.config.blend / self.task.num_classes
        blended = [(1 - self.config.blend) * logits[count:].softmax(1) + uniform for logits in scales]
        squares, divergence = rectified(blended)
        step.logs |= {"squares": squares.detach(), "divergence": divergence.detach()}
        step.add("consistency", squares + divergence, self.config.consistency.at(progress))
        return step.watch(scales[0][count:].argmax(1))


def rectified(scales: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Both parts of the consistency: squares weighed by ``exp(-D)``, and the divergence ``D`` itself.

    Args:
        scales: probabilities ``(B, K, *S)`` above 0.
    """
    mean = torch.stack(list(scales)).mean(0)
    squares, divergences = [], []
    for p in scales:
        divergence = (mean * (mean.log() - p.log())).sum(1, keepdim=True)
        weight = torch.exp(-divergence)
        squares.append((weight * (mean - p).square()).mean() / (weight.mean() + 1e-8))
        divergences.append(divergence.mean())
    return torch.stack(squares).mean(), torch.stack(divergences).mean()
