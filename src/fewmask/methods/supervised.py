"""The lower bound that every method must beat: the labelled scans alone."""

from __future__ import annotations

from fewmask.data.batch import Batch
from fewmask.methods.base import Method, Progress, Step, register


@register("supervised")
class Supervised(Method):
    """Supervised training on the labelled scans.

    Loss, with ``z`` the logits, ``p`` their softmax and ``y`` the label:

        L = ce_weight CE(z_l, y_l) + dice_weight Dsq(p_l, y_l)

    Its batches hold no unlabelled patches; the labelled ones are the same, under one seed, as those of every other method, so that
    iteration counts and augmentation agree.

    Paper: Milletari et al., V-Net, 3DV 2016; Ronneberger et al., U-Net, MICCAI 2015.
    """

    uses_unlabelled = False
    family = "single network"
    year = 2015
    cost = 1.0
    idea = "Dice and cross-entropy on the labelled scans alone: the baseline"

    def build(self) -> None:
        """One network."""
        self.network = self.build_network()

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The supervised loss of the labelled patches."""
        return self.supervised(self.network(batch.labelled), batch.labels)
