"""Predictors that start from noise: how many samples they average, and how far these lie apart.

Such a predictor has the attribute ``draws`` and a method ``with_spread``: image ``(B, C, *S)`` to class probabilities and, as a last
channel, their spread, ``(B, K + 1, *S)``. `fewmask.components.noise_predictor.NoiseSamplesPredictor` is one.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fewmask.errors import ConfigError


def set_draws(module: Any, count: int) -> None:
    """Average over this many noise samples.

    Raises:
        ConfigError: the predictor does not start from noise, or the number is below 1.
    """
    if not hasattr(module, "draws"):
        raise ConfigError("this run's method does not predict from noise: leave --draws out")
    if count < 1:
        raise ConfigError(f"{count} noise samples were asked for: give 1 or more")
    module.draws = count


def check_spread(module: Any) -> None:
    """Raise ConfigError where a predictor has no noise samples that could differ."""
    draws = getattr(module, "draws", 0)
    if draws < 2:
        reason = "draws one sample" if draws else "does not predict from noise"
        advice = "ask for several with --draws 8" if draws else "use --uncertainty"
        raise ConfigError(f"there is no spread over noise samples, because this run {reason}: {advice}")


class WithSpread(nn.Module):
    """A predictor from noise that gives the spread of its samples with every prediction.

    Args:
        module: the predictor.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module: Any = module

    def forward(self, image: Tensor) -> Tensor:
        """Class probabilities and spread ``(B, K + 1, *S)`` of images ``(B, C, *S)``."""
        both: Tensor = self.module.with_spread(image)
        return both
