"""Noise schedules: how much of a signal is left after each step, and what follows from that in closed form.

Steps count from 0 (hardly any noise) to T - 1 (hardly any signal); -1 is the clean signal itself. With ``a_t`` the share that is left
(``abar_t`` in the papers, the running product of ``1 - beta``), a signal ``x_0`` and noise ``e ~ N(0, I)``:

    x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.config import Section

_LARGEST_BETA = 0.999


class ScheduleConfig(Section):
    """Which schedule."""

    schedule: Literal["linear", "cosine", "sigmoid"] = Field(
        "linear",
        description="how the noise grows: linear in beta; or the signal falls as a squared cosine or a sigmoid",
    )
    steps: int = Field(1000, ge=2, description="T, the diffusion steps")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="beta of the first step, for schedule: linear")
    beta_end: float = Field(0.02, gt=0, lt=1, description="beta of the last step, for schedule: linear")

    def betas(self) -> Tensor:
        """The noise of each step, ``(T,)`` float64."""
        if self.schedule == "linear":
            return linear_betas(self.steps, self.beta_start, self.beta_end)
        return cosine_betas(self.steps) if self.schedule == "cosine" else sigmoid_betas(self.steps)


def linear_betas(steps: int, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """Evenly growing noise (Ho, Jain & Abbeel, NeurIPS 2020)."""
    return torch.linspace(start, end, steps, dtype=torch.float64)


def cosine_betas(steps: int, offset: float = 0.008) -> Tensor:
    """``a_t = cos^2((t / T + s) / (1 + s) pi / 2)``, beta at most 0.999 (Nichol & Dhariwal, ICML 2021)."""
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return _betas_of(torch.cos((t + offset) / (1 + offset) * math.pi / 2).square())


def sigmoid_betas(steps: int, start: float = -3.0, end: float = 3.0) -> Tensor:
    """``a_t`` falls from 1 to 0 along a sigmoid between ``start`` and ``end``, beta at most 0.999 (Jabri, Fleet & Chen, ICML 2023)."""
    t = torch.linspace(start, end, steps + 1, dtype=torch.float64).sigmoid()
    return _betas_of((t[-1] - t) / (t[-1] - t[0]))


def _betas_of(retained: Tensor) -> Tensor:
    """Of the shares left at 0, 1, ..., T."""
    return (1 - retained[1:] / retained[:-1]).clamp(0, _LARGEST_BETA)


class NoiseSchedule(nn.Module):
    """Adding noise and taking it away, for signals ``(B, C, *S)`` and a step per sample.

    A step is an int for the whole batch, or ``(B,)`` int64. Coefficients are computed in float64 and applied in the signal's
    precision. Nothing here is learnt or saved.

    Args:
        betas: ``(T,)``, each in [0, 1).
    """

    retained: Tensor

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        left = torch.cumprod(1 - betas.to(torch.float64), 0)
        # One entry more than steps, so that step -1 is found at 0: all of the signal is left.
        self.register_buffer("retained", torch.cat([left.new_ones(1), left]), persistent=False)
        self._shares: list[float] = self.retained.tolist()  # the same, for which no device is waited for

    @property
    def steps(self) -> int:
        """T."""
        return len(self._shares) - 1

    def share(self, t: int) -> float:
        """``a_t``; 1 for ``t = -1``."""
        return self._shares[t + 1]

    def draw(self, count: int, low: int = 0, high: int | None = None) -> Tensor:
        """A uniform step for each of ``count`` samples, from ``low`` to ``high`` with both ends; none: to the last step."""
        last = self.steps - 1 if high is None else high
        return torch.randint(low, last + 1, (count,), device=self.retained.device)

    def add_noise(self, clean: Tensor, noise: Tensor, t: Tensor | int) -> Tensor:
        """``x_t`` of the clean signal and unit noise of its shape."""
        signal, spread = self._coefficients(clean, t)
        return signal * clean + spread * noise

    def clean_from_noise(self, noisy: Tensor, noise: Tensor, t: Tensor | int) -> Tensor:
        """``x_0 = (x_t - sqrt(1 - a_t) e) / sqrt(a_t)``: what is clean, where the noise is known or predicted."""
        signal, spread = self._coefficients(noisy, t)
        return (noisy - spread * noise) / signal

    def noise_from_clean(self, noisy: Tensor, clean: Tensor, t: Tensor | int) -> Tensor:
        """``e = (x_t - sqrt(a_t) x_0) / sqrt(1 - a_t)``: the inverse; not for ``t = -1``, where there is no noise."""
        signal, spread = self._coefficients(noisy, t)
        return (noisy - signal * clean) / spread

    def step(self, noisy: Tensor, clean: Tensor, t: int, to: int, *, eta: float = 0.0) -> Tensor:
        """One step back from ``t`` to ``to < t`` (Song, Meng & Ermon, ICLR 2021).

            s^2 = eta^2 (1 - a_to) / (1 - a_t) (1 - a_t / a_to)
            x_to = sqrt(a_to) x_0 + sqrt(1 - a_to - s^2) e(x_t, x_0) + s z,   z ~ N(0, I)

        Args:
            noisy: ``x_t``.
            clean: the ``x_0`` that a network believes in.
            t: where ``noisy`` is.
            to: where to go; -1 gives ``clean``.
            eta: 0: deterministic (DDIM); 1: the posterior of the forward process (DDPM), for any ``to``.
        """
        here, there = self.share(t), self.share(to)
        sigma = eta * math.sqrt((1 - there) / (1 - here) * (1 - here / there))
        noise = self.noise_from_clean(noisy, clean, t)
        result = math.sqrt(there) * clean + math.sqrt(max(1 - there - sigma**2, 0.0)) * noise
        return result + sigma * torch.randn_like(result) if sigma else result

    def _coefficients(self, like: Tensor, t: Tensor | int) -> tuple[Tensor | float, Tensor | float]:
        """``sqrt(a_t)`` and ``sqrt(1 - a_t)``, shaped to multiply signals ``(B, C, *S)``."""
        if isinstance(t, int):
            return math.sqrt(self.share(t)), math.sqrt(1 - self.share(t))
        share = self.retained[t + 1].reshape(-1, *[1] * (like.ndim - 1))
        return share.sqrt().to(like.dtype), (1 - share).sqrt().to(like.dtype)
