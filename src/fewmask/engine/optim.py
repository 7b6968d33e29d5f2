"""Optimisers and learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fewmask.config import TrainConfig, merge, validate
from fewmask.methods.base import Turn
from fewmask.networks.init import decays


def turn_config(config: TrainConfig, turn: Turn) -> TrainConfig:
    """The training settings of a turn: the run's, with the turn's own on top."""
    merged: TrainConfig = validate(
        TrainConfig, merge(config.model_dump(), turn.optimiser), f"optimiser of turn {turn.name}"
    )
    return merged


def build_optimiser(config: TrainConfig, turn: Turn) -> Optimizer:
    """The optimiser of a turn; weight decay is coupled for sgd and adam, decoupled for adamw."""
    parameters = parameter_groups(turn.parameters)
    if config.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind: Callable[..., Optimizer] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimiser]
    return kind(parameters, lr=config.lr, betas=(config.momentum, config.beta2), weight_decay=config.weight_decay)


def parameter_groups(parameters: Sequence[nn.Parameter]) -> Any:
    """The parameters as they are, or in two groups where weight decay must leave some alone, see `without_decay`."""
    kept = [p for p in parameters if not decays(p)]
    if not kept:
        return list(parameters)
    return [{"params": [p for p in parameters if decays(p)]}, {"params": kept, "weight_decay": 0.0}]


def learning_rate(config: TrainConfig, iteration: int, iterations: int) -> float:
    """The learning rate of a step, as a function of nothing but the step.

        step:   lr factor^floor(i / step_every)        poly: lr (1 - i / i_max)^power
        poly with cycles of c steps: i mod c instead of i, c instead of i_max
        cosine: lr (1 + cos(pi i / i_max)) / 2         constant: lr
        times (i + 1) / warmup as long as that is below 1

    Args:
        config: the schedule.
        iteration: the step, from 0.
        iterations: ``i_max``, the phase's steps.
    """
    share = iteration / iterations
    cycle = max(round(config.poly_cycle * iterations), 1)
    factors: dict[str, Callable[[], float]] = {
        "constant": lambda: 1.0,
        "step": lambda: config.step_factor ** (iteration // config.step_every),
        "poly": lambda: (1 - iteration % cycle / cycle) ** config.poly_power,
        "cosine": lambda: (1 + math.cos(math.pi * share)) / 2,
    }
    warm = min((iteration + 1) / config.warmup, 1.0) if config.warmup else 1.0
    return config.lr * factors[config.schedule]() * warm


def set_learning_rate(optimiser: Any, lr: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = lr
