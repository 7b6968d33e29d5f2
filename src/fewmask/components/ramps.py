"""Ramps: how the weight of a loss grows over the training."""

from __future__ import annotations

import math
from typing import Literal, Protocol

from pydantic import Field

from fewmask.config import Section


class _Clock(Protocol):
    @property
    def iteration(self) -> int: ...
    @property
    def iterations(self) -> int: ...


def gaussian_rampup(t: float, length: float) -> float:
    """``exp(-5 (1 - min(t, T) / T)^2)``: 0.0067 at the start, 1 from ``T`` on, 1 everywhere for ``T = 0``."""
    if length <= 0:
        return 1.0
    return math.exp(-5 * (1 - min(max(t, 0.0), length) / length) ** 2)


class RampConfig(Section):
    """A loss weight over the training.

    The field writes the ramp as ``weight r(floor(i / 150); R)``; ``R = 40`` saturates at 6000 iterations and ``R = 200`` at 30000,
    which is the end of the published runs. Hence ``length`` is a share of the run, and ``steps`` its number of plateaus (``R``): a run
    of 6000 iterations with ``length: 1, steps: 40`` gives the published weights to the last digit, and a shorter run sees the whole
    ramp instead of its first sliver.
    """

    weight: float = Field(0.1, ge=0, description="the weight at the end of the ramp")
    shape: Literal["gaussian", "linear", "epochs", "constant"] = Field(
        "gaussian",
        description="gaussian: exp(-5 (1 - t)^2); linear: t; epochs: linear by plateaus e / steps for e = 1 to steps; "
        "constant: the full weight from the start",
    )
    length: float = Field(1.0, gt=0, description="length of the ramp as a share of the phase's iterations")
    steps: int | None = Field(40, ge=1, description="plateaus of the ramp; none: it grows at every iteration")

    def at(self, progress: _Clock) -> float:
        """The weight at an iteration."""
        if self.shape == "constant":
            return self.weight
        done, full = float(progress.iteration), self.length * progress.iterations
        if self.shape == "epochs":
            plateaus = min(
                self.steps or full, full
            )  # no more than there are iterations, so that the last has the full weight
            return self.weight * min((math.floor(done * plateaus / full + 1e-9) + 1) / plateaus, 1.0)
        if self.steps:
            done, full = math.floor(done / (full / self.steps) + 1e-9), self.steps
        return self.weight * (gaussian_rampup(done, full) if self.shape == "gaussian" else min(done / full, 1.0))
