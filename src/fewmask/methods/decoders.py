"""What methods with one encoder and several unlike decoders share."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from fewmask.components.mutual import DecoderPredictor
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, SoftmaxPredictor, Step
from fewmask.networks import NetworkOutput
from fewmask.networks.blocks import UpStep


class DecodersConfig(MethodConfig):
    """Published values for the left atrium: half the Dice loss of the foreground, with plain sums, for each decoder."""

    ce_weight: float = Field(0.0, ge=0, description="weight of the cross-entropy on labelled patches")
    dice_squared: bool = Field(False, description="squares in the Dice loss's denominator; false: plain sums")
    dice_background: bool = Field(False, description="average the Dice loss over all classes")
    consistency: RampConfig = Field(
        RampConfig(weight=1.0), description="lambda(i), the weight of what decoders learn from each other"
    )
    decoders: list[UpStep] | None = Field(None, min_length=2, description="up-step of each; none: as published")
    include_labelled: bool = Field(True, description="decoders learn from each other on labelled patches too")
    predict_with: Literal["first", "mean"] = Field("first", description="the first decoder, or the mean of all")


class DecodersMethod(Method):
    """Base: ``sum_k L_sup(z_l^k, y) + lambda(i) agree(...)``; at weight 0 unlabelled patches are not looked at.

    Attributes:
        default_decoders: their up-steps by number of dimensions.
    """

    Config = DecodersConfig
    config: DecodersConfig
    default_decoders: ClassVar[dict[int, list[UpStep]]]
    family = "multi-decoder"

    def build(self) -> None:
        """One encoder and the decoders."""
        decoders = self.config.decoders or self.default_decoders[self.task.spatial_dims]
        self.network = self.build_network(decoders=decoders)

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The decoders' supervised losses, and what they learn from each other."""
        used = bool(self.config.consistency.weight)
        output = self.network.forward_all(batch.images if used else batch.labelled)
        output = output._replace(logits=[logits.float() for logits in output.logits])
        step = self.supervised_all(output.logits, batch.labels)
        if used:
            start = 0 if self.config.include_labelled else len(batch.labels)
            step.add("consistency", self.agree(output, start, step), self.config.consistency.at(progress))
            found = [logits[len(batch.labels) :].argmax(1) for logits in output.logits[:2]]
            step.watch(found[0]).logs["agreement"] = (found[0] == found[1]).float().mean()
        return step

    def agree(self, output: NetworkOutput, start: int, step: Step) -> Tensor:
        """What the decoders learn from each other on the patches from ``start`` on; may log into the step."""
        raise TypeError(f"{type(self).__name__} must define agree(output, start, step)")

    def predictor(self) -> nn.Module:
        """The first decoder, or the mean of all, as configured."""
        return DecoderPredictor(self.network) if self.config.predict_with == "mean" else SoftmaxPredictor(self.network)
