"""Prediction from noise: which steps, how many samples, how far apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fewmask.components.mask_diffusion import MaskPathway
from fewmask.components.noise_predictor import NoiseSamplesPredictor, PredictionConfig
from fewmask.diffusion import NoiseSchedule, ScheduleConfig
from fewmask.diffusion.content_noise import content_key

SCHEDULE = NoiseSchedule(ScheduleConfig().betas())


class Echo(nn.Module):
    """Three classes whose logits are the noisy mask, times a factor; keeps the steps it was asked about."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor, self.steps = factor, []

    def forward(self, x, t):
        self.steps.append(t.tolist())
        return self.factor * x[:, :3]


def predictor(factor=1.0, start="zero", **settings):
    return NoiseSamplesPredictor([MaskPathway(Echo(factor), 3)], SCHEDULE, PredictionConfig(**settings), start).eval()


def images(count=5):
    return torch.randn((count, 1, 16, 16), generator=torch.Generator().manual_seed(1))


def steps_of(module):
    return module.pathways[0].network.steps


def test_the_published_choice_is_one_sample_at_a_random_step():
    module = predictor()
    module(images(40))
    assert len(steps_of(module)) == 1
    steps = steps_of(module)[0]
    assert len(set(steps)) > 35 and 0 <= min(steps) < 200 and 800 < max(steps) < 1000


def test_a_rerun_is_the_same_and_another_seed_is_not():
    first = predictor(draws=2)(images())
    assert torch.equal(predictor(draws=2)(images()), first)
    assert torch.equal(torch.cat([predictor(draws=2)(one[None]) for one in images()]), first)
    assert not torch.allclose(predictor(draws=2, seed=1)(images()), first)


def test_more_samples_average_more_noise():
    deviations = [predictor(draws=draws, t=1000)(images()).std().item() for draws in (1, 4, 16)]
    assert deviations[1] == pytest.approx(deviations[0] / 2, rel=0.15)
    assert deviations[2] == pytest.approx(deviations[0] / 4, rel=0.15)


def test_steps_on_a_grid_and_a_fixed_one():
    module = predictor(draws=4, t="grid")
    module(images(2))
    assert steps_of(module) == [[125, 125], [375, 375], [625, 625], [875, 875]]
    module = predictor(draws=2, t=300)
    module(images(2))
    assert steps_of(module) == [[299, 299], [299, 299]], "steps count from 1 in settings"


def test_several_steps_denoise_from_the_last_to_the_first():
    module = predictor(factor=50.0, steps=4)
    probabilities = module(images(2))
    assert steps_of(module) == [[999, 999], [666, 666], [333, 333], [0, 0]]
    # What was most likely at first is believed more and more.
    assert probabilities.max(1).values.min() > 0.99


def test_the_mean_of_two_networks():
    pathways = [MaskPathway(Echo(factor), 3) for factor in (1.0, 3.0)]
    both = NoiseSamplesPredictor(pathways, SCHEDULE, PredictionConfig())(images())
    each = [NoiseSamplesPredictor([one], SCHEDULE, PredictionConfig())(images()) for one in pathways]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)


def test_spread_by_hand():
    module = predictor(draws=5, t=1000)
    both = module.with_spread(images())
    samples = torch.stack([_one(module, number) for number in range(5)])
    torch.testing.assert_close(both[:, :3], samples.mean(0))
    wanted = (samples.var(0, correction=0).sum(1) / (1 - 1 / 3)).sqrt()
    torch.testing.assert_close(both[:, 3], wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(module(images()), both[:, :3])


def _one(module, number):
    return module._sample(images(), content_key(images()), number)


def test_spread_is_zero_where_samples_agree_and_at_most_one():
    assert not predictor(factor=0.0, draws=3).with_spread(images())[:, 3].any()
    widest = predictor(factor=1000.0, draws=30, t=1000).with_spread(images())[:, 3]
    assert 0.8 < widest.max() <= 1
