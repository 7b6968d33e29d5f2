"""Label maps as signals that noise is added to, and network outputs as the clean signal."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from fewmask.config import Lengths, Sizes
from fewmask.diffusion.schedule import NoiseSchedule, ScheduleConfig


class LabelDiffusionConfig(ScheduleConfig):
    """How labels are noised."""

    scale: Lengths = Field((-1.0, 1.0), description="what 0 and 1 of a one-hot label become before noise is added")
    clean_from: Literal["softmax", "clamp"] = Field(
        "softmax", description="the clean signal of an output: its softmax on the scale, or the output clamped to it"
    )
    draw: Literal["sample", "batch"] = Field(
        "sample", description="a step is drawn for each sample, or one for the whole batch"
    )
    labelled_steps: Sizes | None = Field(
        None, description="lowest and highest step drawn for labelled patches; none: all"
    )
    unlabelled_steps: Sizes | None = Field(
        None, description="the same for unlabelled ones: at low steps the label shows through"
    )

    @model_validator(mode="after")
    def _ranges_fit(self) -> LabelDiffusionConfig:
        for steps in (self.labelled_steps, self.unlabelled_steps):
            if steps is not None and (len(steps) != 2 or not 0 <= steps[0] <= steps[1] < self.steps):
                raise ValueError(f"a range of steps is [lowest, highest] within 0 to {self.steps - 1}")
        if len(self.scale) != 2 or self.scale[0] >= self.scale[1]:
            raise ValueError("scale is [low, high] with low below high")
        return self


class LabelDiffusion(NoiseSchedule):
    """The forward process on label maps.

    Args:
        config: see `LabelDiffusionConfig`.
    """

    def __init__(self, config: LabelDiffusionConfig) -> None:
        super().__init__(config.betas())
        self.config = config

    def draw_for(self, labelled: int, unlabelled: int) -> Tensor:
        """A step for each patch of a batch, labelled ones first, ``(B,)`` on the processor, where a log can look at it."""
        config, everything = self.config, (0, self.steps - 1)
        ranges = [config.labelled_steps or everything] * labelled + [config.unlabelled_steps or everything] * unlabelled
        places = torch.rand(1 if config.draw == "batch" else len(ranges)).expand(len(ranges)).tolist()
        return torch.tensor(
            [low + int(place * (high + 1 - low)) for place, (low, high) in zip(places, ranges, strict=True)]
        )

    def noised(self, labels: Tensor, num_classes: int, t: Tensor) -> Tensor:
        """Noisy one-hot maps ``(B, K, *S)`` of labels ``(B, *S)`` at steps ``(B,)``."""
        low, high = self.config.scale
        clean = low + (high - low) * F.one_hot(labels, num_classes).movedim(-1, 1).float()
        return self.add_noise(clean, torch.randn_like(clean), t)

    def clean(self, logits: Tensor) -> Tensor:
        """The clean signal that logits ``(B, K, *S)`` stand for."""
        low, high = self.config.scale
        if self.config.clean_from == "clamp":
            return logits.float().clamp(low, high)
        return low + (high - low) * logits.float().softmax(1)
