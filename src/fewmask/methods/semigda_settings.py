"""The settings of `fewmask.methods.semigda`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from fewmask.components.mask_codes import MaskCodeConfig
from fewmask.components.ramps import RampConfig
from fewmask.config import Lengths, Sizes
from fewmask.methods.base import MethodConfig
from fewmask.networks.autoencoder import AutoencoderShape
from fewmask.networks.skip_adapters import AdapterMode

BETA = RampConfig(weight=0.1, steps=None)
RELEASED: dict[str, Any] = {
    "unlabelled": RampConfig(weight=0.3, steps=200),
    "align_unlabelled": RampConfig(weight=0.3, steps=None, length=12),
    "align_in_training": False,
    "target": "sharpened",
    "mix": True,
}


class AutoencoderConfig(AutoencoderShape):
    """Where the autoencoder comes from: trained first, kept by another run, or Stable Diffusion's."""

    pretrained: str | None = Field(
        None, description="run folder or safetensors file of an autoencoder that another run has trained and kept"
    )
    iterations: int | None = Field(None, ge=1, description="of its training; none: train.iterations")
    lr: float = Field(1e-3, gt=0, description="of its training, by Adam with a cosine schedule")
    batch: int = Field(8, ge=4, description="of its training: half images, half masks")
    kl_weight: float = Field(1e-6, ge=0, description="of the latent's divergence from the normal distribution")
    masks: Literal["drawn", "labelled"] = Field(
        "drawn",
        description="what it learns masks from. drawn: random shapes, so that it knows no label and suits runs with other splits; "
        "labelled: half of them labelled masks",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.diffusers and self.pretrained:
            raise ValueError("give either diffusers or pretrained, not both")
        return self


class SemiGDAConfig(MethodConfig):
    """Published values; where the paper is silent, the released code's."""

    ce_weight: float = Field(0.0, ge=0, le=0, description="must be 0: masks here are greys without logits")
    dice_weight: float = Field(1.0, ge=0, description="weight of Ls_s")
    dice_squared: bool = Field(False, description="squares in the Dice losses' denominators; false: plain sums")
    dice_background: bool = Field(
        False, description="the background counts in Dice losses; with more than two classes it always does"
    )
    autoencoder: AutoencoderConfig = Field(AutoencoderConfig(), description="the frozen part")
    codes: MaskCodeConfig = Field(MaskCodeConfig(), description="annotation conversion and reversion")
    input_range: Lengths | None = Field(
        None, description="the intensities that become -1 and 1, such as [0, 1]; none: each image's least and largest"
    )
    mapping_width: int = Field(32, ge=1, description="channels of M's first block")
    blocks: Sizes = Field((3, 4, 6), description="residual blocks of R's levels behind the first")
    align_iterations: int | None = Field(None, ge=1, description="of phase align; none: train.iterations")
    align_batch: int = Field(12, ge=1, description="labelled and unlabelled patches each in a batch of phase align")
    mapping_lr: float = Field(2e-3, gt=0, description="of M in phase align, by AdamW")
    encoder_lr: float = Field(1e-2, gt=0, description="of R in phase align, by SGD")
    align: Literal["both", "labelled", "none"] = Field(
        "both", description="the latent losses: Lp_s and Lp_u, Lp_s, or none and no phase align"
    )
    align_in_training: bool = Field(True, description="latent losses in phase train too")
    latent_reduction: Literal["mean", "sum"] = Field("mean", description="of squared errors over a latent")
    agree: bool = Field(True, description="Ls_u")
    adapters: Literal["both", "image", "mask", "none"] = Field("both", description="which branches have adapters")
    adapter_mode: AdapterMode = Field("replace", description="their result replaces the decoder's, or is added")
    unlabelled: RampConfig = Field(BETA, description="lambda in phase train")
    align_unlabelled: RampConfig = Field(BETA, description="lambda in phase align")
    target: Literal["detached", "soft", "sharpened"] = Field(
        "detached", description="the second argument in Ls_u: without gradient, with it, or sure labels only"
    )
    noise: float = Field(0.5, ge=0, le=1, description="probability of a batch of phase train to have noise on z_v")
    mix: bool = Field(
        False, description="from a third of phase train on: boxes exchanged between the halves, with sure labels"
    )
    predict_with: Literal["mean", "image", "mask"] = Field("mean", description="which branch predicts")
    as_released: bool = Field(False, description="what the released code trains; see the card")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.blocks or min(self.blocks) < 1:
            raise ValueError("blocks needs one number or more, each 1 or larger")
        if self.input_range is not None and (len(self.input_range) != 2 or self.input_range[0] >= self.input_range[1]):
            raise ValueError("input_range needs [lowest, highest]")
        return self
