from __future__ import annotations

import math

import pytest
import torch

from fewmask.config import TrainConfig
from fewmask.engine.optim import build_optimiser, learning_rate, set_learning_rate, turn_config
from fewmask.errors import ConfigError
from fewmask.methods import Turn

FORMULAS = {
    "constant": lambda i: 0.01,
    "step": lambda i: 0.01 * 0.1 ** (i // 2500),
    "poly": lambda i: 0.01 * (1 - i / 6000) ** 0.9,
    "cosine": lambda i: 0.005 * (1 + math.cos(math.pi * i / 6000)),
}


@pytest.mark.parametrize("schedule", FORMULAS)
def test_schedules(schedule):
    config = TrainConfig(schedule=schedule)
    for i in (0, 1, 1000, 2499, 2500, 4999, 5000, 5999):
        assert learning_rate(config, i, 6000) == pytest.approx(FORMULAS[schedule](i), rel=1e-12), i


def test_the_published_step_values():
    config = TrainConfig(schedule="step")
    assert [learning_rate(config, i, 6000) for i in (0, 2500, 5000)] == pytest.approx([1e-2, 1e-3, 1e-4])


@pytest.mark.parametrize("schedule", FORMULAS)
def test_warm_up_reaches_the_schedule_by_equal_steps(schedule):
    config = TrainConfig(schedule=schedule, warmup=20)
    for i in (0, 1, 9, 18, 19, 20, 2500):
        share = min((i + 1) / 20, 1)
        assert learning_rate(config, i, 6000) == pytest.approx(share * FORMULAS[schedule](i), rel=1e-12), i


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_both_betas_of_adam(optimiser):
    built = build_optimiser(TrainConfig(optimiser=optimiser, momentum=0.8, beta2=0.99), turn())
    assert built.defaults["betas"] == (0.8, 0.99)


def test_poly_begins_anew_after_each_cycle():
    config, phase = TrainConfig(poly_cycle=116 / 350), 350 * 72
    rates = [learning_rate(config, epoch * 72, phase) for epoch in (0, 29, 58, 87, 115, 116, 231, 232, 349)]
    wanted = [0.01, 0.007719, 0.005359, 0.002872, 0.000139, 0.01, 0.000139, 0.01, 0.01 * (115 / 116) ** 0.9]
    assert rates == pytest.approx(wanted, abs=1e-6)


def turn(**settings):
    return Turn("second", [torch.nn.Parameter(torch.ones(3))], settings)


def test_a_turn_changes_what_it_names_and_nothing_else():
    config = TrainConfig(weight_decay=0.5, clip_norm=2.0)
    merged = turn_config(config, turn(optimiser="adam", lr=1e-4))
    assert merged == config.model_copy(update={"optimiser": "adam", "lr": 1e-4})


def test_a_wrong_setting_of_a_turn_is_named():
    with pytest.raises(ConfigError, match=r"optimiser of turn second: unknown key 'learning_rate'"):
        turn_config(TrainConfig(), turn(learning_rate=1))


def one_step(config):
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimiser = build_optimiser(config, Turn("main", [parameter]))
    (parameter * torch.tensor([3.0, 0.5])).sum().backward()
    optimiser.step()
    return parameter.detach().tolist()


def test_first_steps_by_hand():
    shared = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    # sgd: w - lr (g + wd w); adam: a first step of lr times the sign; adamw: the same after w (1 - lr wd).
    assert one_step(TrainConfig(optimiser="sgd", **shared)) == pytest.approx([1 - 0.1 * 3.01, -2 - 0.1 * 0.48])
    assert one_step(TrainConfig(optimiser="adam", **shared)) == pytest.approx([0.9, -2.1], abs=1e-6)
    assert one_step(TrainConfig(optimiser="adamw", **shared)) == pytest.approx([0.899, -2.098], abs=1e-6)


def test_adams_first_beta_is_the_momentum():
    optimiser = build_optimiser(TrainConfig(optimiser="adam", momentum=0.5), turn())
    assert optimiser.param_groups[0]["betas"] == (0.5, 0.999)


def test_set_learning_rate_reaches_every_group():
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimiser = torch.optim.SGD([{"params": [p]} for p in parameters], lr=1.0)
    set_learning_rate(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.25]
