"""MC-Net: decoders that double the resolution in different ways learn from each other's sharpened predictions."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from fewmask.components.mutual import mutual_loss, sharpen
from fewmask.methods.base import Step, register
from fewmask.methods.decoders import DecodersConfig, DecodersMethod
from fewmask.networks import NetworkOutput
from fewmask.networks.blocks import UpStep


@register("mc-net")
class MutualConsistency(DecodersMethod):
    """Mutual consistency network (Wu, Xu, Ge, Cai & Zhang, MICCAI 2021).

    One encoder, decoders ``k`` that differ in their up-step alone. Where they differ the network is uncertain, and each is drawn to the
    other's sharpened prediction, on labelled and unlabelled patches:

        q = p^(1/T) / (p^(1/T) + (1 - p)^(1/T))                          per class and voxel
        L = sum_k L_sup(z_l^k, y) + lambda(i) sum_{k != j} mean (p^k - q^j)^2

    ``L_sup`` is half the Dice loss of the foreground. A target is a target: no gradient passes through ``q``. In the released code it does
    (``as_released``): the target comes to meet the prediction, near ``p = 1/2`` with ``1 / T`` times its gradient.
    """

    class Config(DecodersConfig):
        """Published values for the left atrium."""

        temperature: float = Field(0.1, gt=0, description="T, sharpens the targets")
        detach_targets: bool = Field(True, description="no gradient through the sharpened predictions")
        as_released: bool = Field(False, description="gradient through the sharpened predictions, too")

    config: Config
    released: ClassVar[dict[str, bool]] = {"detach_targets": False}
    default_decoders: ClassVar[dict[int, list[UpStep]]] = {2: ["linear", "transposed"], 3: ["transposed", "linear"]}
    year = 2021
    networks = "1 with 2 decoders"
    cost = 3.3
    idea = "two decoders with unlike up-steps learn from each other's sharpened predictions"

    def agree(self, output: NetworkOutput, start: int, step: Step) -> Tensor:
        """Every decoder against every other one's sharpened prediction."""
        maps = [logits[start:].softmax(1) for logits in output.logits]
        sources = [p.detach() for p in maps] if self.config.detach_targets else maps
        return mutual_loss(maps, [sharpen(p, self.config.temperature) for p in sources])
