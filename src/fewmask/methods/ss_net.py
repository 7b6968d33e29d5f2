"""SS-Net: predictions that no small change of the image can change, and features that know their class."""

from __future__ import annotations

from pydantic import Field

from fewmask.components.batch_statistics import untracked
from fewmask.components.class_separation import ClassSeparation, SeparationConfig
from fewmask.components.ramps import RampConfig
from fewmask.components.virtual_adversarial import adversarial_direction, overlap_loss
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, Step, register


@register("ss-net")
class SmoothnessAndSeparation(Method):
    """Exploring smoothness and class-separation (Wu, Wu, Wu, Ge & Cai, MICCAI 2022).

    Two terms, on labelled and unlabelled patches, with ``d`` the direction of length 1 in which the prediction changes most:

        L = L_sup(z_l, y) + lambda(i) [L_lds + separation_weight (L_cl(f_l, y) + L_cl(f_u, argmax z_u))]
        L_lds = D(softmax f(x + radius d), softmax f(x)),   D the Dice loss of all channels together, no gradient to the second
        L_cl    features come near a memory of labelled, rightly predicted features of their class; see `ClassSeparation`

    ``L_sup`` is the Dice loss of the foreground. The memory of a class holds the 32 vectors with the highest selector scores. The released
    code sorts the wrong way round, keeps the lowest, and has no memory of the background nor of a class that was never right: ``as_released``.
    """

    class Config(MethodConfig):
        """Published values for the left atrium."""

        ce_weight: float = Field(0.0, ge=0, description="weight of the cross-entropy on labelled patches")
        dice_weight: float = Field(1.0, ge=0, description="weight of the Dice loss on labelled patches")
        dice_squared: bool = Field(False, description="squares in all Dice losses; L_lds then goes class by class")
        dice_background: bool = Field(False, description="average the supervised Dice loss over all classes")
        unlabelled: RampConfig = Field(RampConfig(weight=1.0), description="lambda(i), the weight of both terms")
        radius: float = Field(10.0, gt=0, description="epsilon, length of the adversarial change of an image")
        probe: float = Field(10.0, gt=0, description="xi, length of the random change from which it is found")
        separation_weight: float = Field(0.1, ge=0, description="weight of L_cl, times lambda")
        separation: SeparationConfig = Field(SeparationConfig(), description="heads and memory of L_cl")
        as_released: bool = Field(
            False, description="lowest scores enter the memory, rightly predicted foreground alone"
        )

    config: Config
    family = "adversarial direction"
    year = 2022
    networks = "1 + point heads"
    cost = 5.5
    idea = "smooth along adversarial directions, classes apart by a memory of labelled features"

    def build(self) -> None:
        """The network, and what separates the classes."""
        self.network = self.build_network()
        settings = self.config.separation
        if self.config.as_released:
            settings = settings.model_copy(update={"keep": "lowest", "background": False, "fallback": False})
        self.separation = ClassSeparation(self.network_config.width, self.task.num_classes, settings)

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """Supervised loss plus both ramped terms."""
        config, count = self.config, len(batch.labels)
        if not config.unlabelled.weight:
            return self.supervised(self.network(batch.labelled), batch.labels)
        output = self.network.forward_all(batch.images)
        logits, features = output.logits[0].float(), output.taps["last"]
        step, weight = self.supervised(logits, batch.labels), config.unlabelled.at(progress)
        target, predicted = logits.detach().softmax(1), logits.argmax(1)
        squared = config.dice_squared
        direction = adversarial_direction(self.network, batch.images, target, probe=config.probe, squared=squared)
        with untracked(self.network):
            moved = self.network(batch.images + config.radius * direction).float().softmax(1)
        step.add("smoothness", overlap_loss(moved, target, squared=squared), weight)
        self.separation.remember(features[:count].detach(), batch.labels, predicted[:count])
        known = self.separation(features[:count], batch.labels)
        separation = known + self.separation(features[count:], predicted[count:])
        return step.add("separation", separation, config.separation_weight * weight).watch(predicted[count:])
