"""Entropy minimisation: be sure of what has no label."""

from __future__ import annotations

import math

from pydantic import Field

from fewmask.components.collapse import CollapseMonitor
from fewmask.components.ramps import RampConfig
from fewmask.components.uncertainty import entropy
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, Step, register


@register("entropy-minimisation")
class EntropyMinimisation(Method):
    """Entropy minimisation (Grandvalet & Bengio, NIPS 2004), voxel by voxel as MinEnt of ADVENT (Vu et al., CVPR 2019).

        L = L_sup + lambda(i) mean_v H(p_u) / ln K,   H(p) = -sum_c p_c ln(p_c + 1e-6)

    The entropy is a share of the largest one, so a weight means the same for any number of classes. The field's benchmark takes the
    mean over labelled patches, too (``include_labelled``). Certainty is cheapest where everything is background: the log has the share
    of foreground found without labels, and a network that finds almost none for long is warned of.
    """

    class Config(MethodConfig):
        """The benchmark's weight: 0.1 at the end of a Gaussian ramp."""

        entropy: RampConfig = Field(RampConfig(weight=0.1), description="lambda(i), the weight of the entropy")
        include_labelled: bool = Field(False, description="entropy of labelled patches too, as the field's benchmark")

    config: Config
    family = "single network"
    year = 2004
    cost = 2.0
    idea = "push the predictions without labels towards certainty"

    def build(self) -> None:
        """One network, and the watch on it."""
        self.network = self.build_network()
        self.monitor = CollapseMonitor(networks=1)

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """Supervised loss plus the ramped entropy."""
        logits, count = self.network(batch.images).float(), len(batch.labels)
        doubtful = logits if self.config.include_labelled else logits[count:]
        doubt = entropy(doubtful.softmax(1)).mean() / math.log(self.task.num_classes)
        step = self.supervised(logits, batch.labels).add("entropy", doubt, self.config.entropy.at(progress))
        found = logits[count:].argmax(1)
        step.watch(found).logs["starved"] = self.monitor.update(batch.labels, found).float()
        return step
