"""SASSNet: signed distance maps of unlabelled images must look like those of labelled ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field

from fewmask.components.batch_statistics import in_eval_mode
from fewmask.components.discriminator import Discriminator
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Progress, Step, Turn, register
from fewmask.methods.dual_task import DualTaskConfig, DualTaskMethod


@register("sassnet")
class ShapeAwareNetwork(DualTaskMethod):
    """Shape-aware semi-supervised segmentation (Li, Zhang & He, MICCAI 2020).

    A network ``G`` gives the segmentation and, per foreground class, a signed distance map ``s``; a discriminator ``D`` sees the map beside
    its image and tells whether the image is labelled. Both take turns in every step:

        turn generator      L_sup(z_l, y) + distance_weight mean (s_l - S(y))^2 + lambda(i) CE(D(s_u, x_u), labelled)
        turn discriminator  CE(D(s_l, x_l), labelled) + CE(D(s_u, x_u), not labelled), mean over all images

    ``L_sup`` is the Dice loss of the foreground, ``S`` the normalised signed distance map of the label's patch (see `dtc`). Whoever holds
    still is in eval mode: ``D`` drops no channels while ``G`` learns, ``G`` uses its running statistics while ``D`` learns. At weight 0
    there is no discriminator.
    """

    class Config(DualTaskConfig):
        """Published values for 16 labelled scans of the left atrium."""

        adversarial: RampConfig = Field(
            RampConfig(weight=0.01), description="lambda(i), weight of the discriminator's verdict"
        )
        discriminator_lr: float = Field(1e-4, gt=0, description="learning rate of its Adam, betas 0.9 and 0.99")
        discriminator_width: int = Field(64, ge=1, description="channels of its first convolution")

    config: Config
    family = "shape"
    year = 2020
    networks = "1 + discriminator"
    cost = 4.3
    idea = "a discriminator makes distance maps of unlabelled images look like those of labelled ones"

    def build(self) -> None:
        """The network with its distance head, and the discriminator."""
        super().build()
        task, width = self.task, self.config.discriminator_width
        self.discriminator: Discriminator | None = None
        if self.config.adversarial.weight:
            self.discriminator = Discriminator(task.spatial_dims, task.num_classes - 1, task.in_channels, width=width)

    def turns(self, phase: str) -> list[Turn]:
        """The generator with the run's optimiser, the discriminator with Adam."""
        turns = [Turn("generator", [*self.network.parameters()])]
        if self.discriminator is not None:
            adam = {"optimiser": "adam", "lr": self.config.discriminator_lr, "momentum": 0.9, "beta2": 0.99}
            still = {"schedule": "constant", "weight_decay": 0.0}
            turns.append(Turn("discriminator", [*self.discriminator.parameters()], adam | still))
        return turns

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The loss of the turn."""
        if progress.turn == "discriminator" and self.discriminator is not None:
            return self._discriminate(self.discriminator, batch)
        count = len(batch.labels)
        logits, distances = self.network.both(batch.labelled if self.discriminator is None else batch.images)
        step = self.both_tasks(logits, distances, batch)
        if self.discriminator is not None:
            with in_eval_mode(self.discriminator):
                verdict = self.discriminator(distances[count:], batch.unlabelled.float())
            wanted = torch.ones(len(verdict), dtype=torch.int64, device=verdict.device)
            step.add("adversarial", F.cross_entropy(verdict, wanted), self.config.adversarial.at(progress))
            step.watch(logits[count:].argmax(1))
        return step

    def _discriminate(self, discriminator: Discriminator, batch: Batch) -> Step:
        """The discriminator's own loss, on maps that carry no gradient."""
        with torch.no_grad(), in_eval_mode(self.network):
            _, distances = self.network.both(batch.images)
        labelled = (torch.arange(len(distances), device=distances.device) < len(batch.labels)).long()
        verdict = discriminator(distances, batch.images.float())
        loss = F.cross_entropy(verdict, labelled)
        return Step(loss, {"right": (verdict.argmax(1) == labelled).float().mean()})
