"""From noise to a signal: which steps are taken, and the loop over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from fewmask.diffusion.schedule import NoiseSchedule
from fewmask.errors import ConfigError


def evenly_spaced(steps: int, count: int) -> list[int]:
    """``count`` of the steps ``T - 1`` to 0, evenly spread with both ends, noisiest first; a single one is ``T - 1``.

    Raises:
        ConfigError: fewer than one or more than ``steps`` are asked for.
    """
    if not 1 <= count <= steps:
        raise ConfigError(
            f"a sub-sequence of {steps} diffusion steps has 1 to {steps} of them, but {count} are asked for"
        )
    if count == 1:
        return [steps - 1]
    return [round((steps - 1) * i / (count - 1)) for i in reversed(range(count))]


def step_pairs(chosen: Sequence[int]) -> list[tuple[int, int]]:
    """From where to where: each of the chosen steps with the next one, the last with the clean signal, -1."""
    return list(pairwise([*chosen, -1]))


def ddim(
    predict: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    schedule: NoiseSchedule,
    chosen: Sequence[int],
    *,
    to_clean: Callable[[Tensor], Tensor] | None = None,
    eta: float = 0.0,
) -> Tensor:
    """Denoise over a sub-sequence of the steps.

    Args:
        predict: a network: noisy signal ``(B, C, *S)`` and steps ``(B,)`` to its output.
        noise: where to start, unit noise ``(B, C, *S)``.
        schedule: the noise that the network was trained with.
        chosen: steps, noisiest first, as `evenly_spaced` gives them.
        to_clean: the clean signal of an output, in the range of what noise was added to; none: the output is the signal. For a
            network that predicts noise it needs the noisy signal too and belongs into ``predict``.
        eta: see `NoiseSchedule.step`.

    Returns:
        The output of the last call of ``predict``; its clean signal is where the loop ends.
    """
    noisy, output = noise, noise
    for t, to in step_pairs(chosen):
        output = predict(noisy, torch.full(noisy.shape[:1], t, device=noisy.device))
        noisy = schedule.step(noisy, to_clean(output) if to_clean else output, t, to, eta=eta)
    return output
