"""CPS: two networks that learn from each other's hard pseudo-labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from fewmask.components.losses import cross_pseudo_loss
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, Step, pair_predictor, register
from fewmask.networks import initialise


@register("cps")
class CrossPseudoSupervision(Method):
    """Cross pseudo supervision (Chen, Yuan, Zeng & Wang, CVPR 2021), in its medical form.

    Two networks of one architecture, told apart by their random start, see the same patches; each takes the other's
    argmax, without gradient, as the label of the unlabelled ones:

        L = sum_k L_sup(z_l^k, y_l) + lambda(i) [CE(z_u^1, argmax z_u^2) + CE(z_u^2, argmax z_u^1)]

    The original mixes unlabelled images by CutMix and, without it, puts the pseudo-label term on the labelled images too
    (``include_labelled``); the field's 3D benchmarks do neither.
    """

    class Config(MethodConfig):
        """Published medical values: weight 0.1."""

        cross: RampConfig = Field(RampConfig(weight=0.1), description="lambda(i), the weight of the pseudo-label loss")
        include_labelled: bool = Field(
            False, description="pseudo-label loss on labelled patches too, as the original without CutMix"
        )
        initialisation: Literal["network", "kaiming-xavier"] = Field(
            "network",
            description="network: two random starts of the network's own; kaiming-xavier: as the medical benchmarks",
        )
        predict_with: Literal["first", "second", "mean"] = Field("first", description="which network predicts")

    config: Config
    family = "cross supervision"
    year = 2021
    networks = "2"
    cost = 4.0
    idea = "two networks, unlike at birth, take each other's hard predictions as labels"

    def build(self) -> None:
        """Two networks, drawn one after the other."""
        self.first, self.second = self.build_network(), self.build_network()
        if self.config.initialisation == "kaiming-xavier":
            initialise(self.first, "kaiming")
            initialise(self.second, "xavier")

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """Both supervised losses plus the ramped cross pseudo-label loss."""
        first, second = self.first(batch.images), self.second(batch.images)
        count = len(batch.labels)
        step = self.supervised(first, batch.labels).join(self.supervised(second, batch.labels), "second")
        start = 0 if self.config.include_labelled else count
        step.add("cross", cross_pseudo_loss(first[start:], second[start:]), self.config.cross.at(progress))
        found = first[count:].argmax(1)
        step.logs["agreement"] = (found == second[count:].argmax(1)).float().mean()
        return step.watch(found)

    def predictor(self) -> nn.Module:
        """One network or the mean of both, as configured."""
        return pair_predictor(self.first, self.second, self.config.predict_with)
