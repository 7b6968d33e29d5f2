"""MC-Net: decoders that double the resolution in different ways learn from each other's sharpened predictions."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from fewmask.components.mutual import DecoderPredictor, mutual_loss, sharpen
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, SoftmaxPredictor, Step, register

UpStep = Literal["transposed", "linear", "nearest", "cubic"]


@register("mc-net")
class MutualConsistency(Method):
    """Mutual consistency network (Wu, Xu, Ge, Cai & Zhang, MICCAI 2021).

    One encoder, decoders ``k`` that differ in their up-step alone. Where they differ the network is uncertain, and each is drawn to the
    other's sharpened prediction, on labelled and unlabelled patches:

        q = p^(1/T) / (p^(1/T) + (1 - p)^(1/T))                          per class and voxel
        L = sum_k L_sup(z_l^k, y) + lambda(i) sum_{k != j} mean (p^k - q^j)^2

    ``L_sup`` is half the Dice loss of the foreground. A target is a target: no gradient passes through ``q``. In the released code it does
    (``as_released``): the target comes to meet the prediction, near ``p = 1/2`` with ``1 / T`` times its gradient.
    """

    class Config(MethodConfig):
        """Published values for the left atrium."""

        ce_weight: float = Field(0.0, ge=0, description="weight of the cross-entropy on labelled patches")
        dice_squared: bool = Field(False, description="squares in the Dice loss's denominator; false: plain sums")
        dice_background: bool = Field(False, description="average the Dice loss over all classes")
        consistency: RampConfig = Field(
            RampConfig(weight=1.0), description="lambda(i), the weight of the consistency between decoders"
        )
        temperature: float = Field(0.1, gt=0, description="T, sharpens the targets")
        decoders: list[UpStep] | None = Field(
            None, min_length=2, description="up-step of each; none: transposed and linear, in 2D linear first"
        )
        include_labelled: bool = Field(True, description="consistency on labelled patches too, as published")
        detach_targets: bool = Field(True, description="no gradient through the sharpened predictions")
        predict_with: Literal["first", "mean"] = Field("first", description="the first decoder, or the mean of all")
        as_released: bool = Field(False, description="gradient through the sharpened predictions, too")

    config: Config
    released: ClassVar[dict[str, bool]] = {"detach_targets": False}
    default_decoders: ClassVar[dict[int, list[UpStep]]] = {2: ["linear", "transposed"], 3: ["transposed", "linear"]}
    family = "multi-decoder"
    year = 2021
    networks = "1 with 2 decoders"
    cost = 3.3
    idea = "two decoders with unlike up-steps learn from each other's sharpened predictions"

    def build(self) -> None:
        """One encoder and the decoders."""
        decoders = self.config.decoders or self.default_decoders[self.task.spatial_dims]
        self.network = self.build_network(decoders=decoders)

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The decoders' supervised losses plus the ramped mutual consistency."""
        config, count = self.config, len(batch.labels)
        images = batch.images if config.consistency.weight else batch.labelled
        decoders = [logits.float() for logits in self.network.forward_all(images).logits]
        step = self.supervised(decoders[0], batch.labels)
        for number, logits in enumerate(decoders[1:], start=1):
            step.join(self.supervised(logits, batch.labels), str(number))
        if config.consistency.weight:
            maps = [logits[0 if config.include_labelled else count :].softmax(1) for logits in decoders]
            targets = [sharpen(p.detach() if config.detach_targets else p, config.temperature) for p in maps]
            step.add("consistency", mutual_loss(maps, targets), config.consistency.at(progress))
            found = [logits[count:].argmax(1) for logits in decoders[:2]]
            step.logs["agreement"] = (found[0] == found[1]).float().mean()
        return step

    def predictor(self) -> nn.Module:
        """The first decoder, or the mean of all, as configured."""
        return SoftmaxPredictor(self.network) if self.config.predict_with == "first" else DecoderPredictor(self.network)
