"""Prediction from noise: one or several samples, averaged, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.components.mask_diffusion import MaskPathway, Start, noisy_start, signed
from fewmask.config import Section
from fewmask.diffusion import NoiseSchedule, ddim, evenly_spaced
from fewmask.diffusion.content_noise import content_key, content_noise, content_steps


class PredictionConfig(Section):
    """How a scan is segmented from noise; the defaults are the published choice."""

    network: Literal["student", "teacher", "mean"] = Field("student", description="who predicts; mean: of both softmax")
    steps: int = Field(1, ge=1, description="denoising steps; above 1: DDIM from the last step, evenly spaced")
    t: Literal["random", "grid"] | int = Field(
        "random",
        description="of a single denoising step: drawn anew for each window, evenly spread over the draws, or a number from 1 to T",
    )
    draws: int = Field(1, ge=1, description="noise samples whose softmax is averaged")
    seed: int = Field(0, ge=0, description="of noise and steps, together with the window's voxels")


class NoiseSamplesPredictor(nn.Module):
    """Mean softmax over noise samples, the same at every call.

    Noise and steps are drawn from the window's content (see `fewmask.diffusion.content_noise`), so they differ from window to window and
    do not depend on the batch.

    Args:
        pathways: whose softmax is averaged.
        schedule: of the noise.
        settings: steps, draws, seed.
        start: see `noisy_start`.
    """

    def __init__(
        self,
        pathways: Sequence[MaskPathway],
        schedule: NoiseSchedule,
        settings: PredictionConfig,
        start: Start = "zero",
    ) -> None:
        super().__init__()
        self.pathways = nn.ModuleList(pathways)
        self.schedule, self.settings, self.start = schedule, settings, start
        self.classes, self.draws = len(pathways[0].order), settings.draws

    def forward(self, image: Tensor) -> Tensor:
        """Class probabilities ``(B, K, *S)`` of images ``(B, C, *S)``."""
        return self._moments(image)[0]

    def with_spread(self, image: Tensor) -> Tensor:
        """Class probabilities and, as a last channel, how far the draws lie apart: ``(B, K + 1, *S)``.

        spread = sqrt(sum_k Var(p_k) / (1 - 1 / K)),   0 where all draws agree, at most 1; for two classes 2 std(p_1)
        """
        mean, variance = self._moments(image)
        total = variance.sum(1, keepdim=True).clamp(min=0)
        return torch.cat([mean, (total / (1 - 1 / mean.shape[1])).sqrt()], 1)

    def _moments(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the draws' probabilities, by Welford's updates."""
        key = content_key(image, self.settings.seed)
        mean = self._sample(image, key, 0)
        squares = torch.zeros_like(mean)
        for number in range(1, self.draws):
            sample = self._sample(image, key, number)
            before = sample - mean
            mean = mean + before / (number + 1)
            squares = squares + before * (sample - mean)
        return mean, squares / self.draws

    def _sample(self, image: Tensor, key: Tensor, number: int) -> Tensor:
        """The mean softmax of all pathways from one noise sample."""
        noise = content_noise(key, (self.classes, *image.shape[2:]), number)
        found = [self._denoise(pathway, image, noise, key, number).float().softmax(1) for pathway in self.pathways]
        return torch.stack(found).mean(0) if len(found) > 1 else found[0]

    def _denoise(self, pathway: nn.Module, image: Tensor, noise: Tensor, key: Tensor, number: int) -> Tensor:
        if self.settings.steps > 1:
            chosen = evenly_spaced(self.schedule.steps, self.settings.steps)
            return ddim(lambda noisy, t: pathway(image, noisy, t), noise, self.schedule, chosen, to_clean=signed)
        t = self._step(key, number)
        logits: Tensor = pathway(image, noisy_start(self.schedule, noise, t, self.start), t)
        return logits

    def _step(self, key: Tensor, number: int) -> Tensor:
        """The step of a draw, ``(B,)``."""
        steps = self.schedule.steps
        if self.settings.t == "random":
            return content_steps(key, steps, -1 - number)
        same = int((number + 0.5) / self.draws * steps) if self.settings.t == "grid" else int(self.settings.t) - 1
        return torch.full_like(key, same)
