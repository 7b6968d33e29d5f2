"""Noising and its inverse against closed forms, published values and an independent implementation's numbers."""

from __future__ import annotations

import math

import pytest
import torch

from fewmask.diffusion import NoiseSchedule, ScheduleConfig
from fewmask.diffusion.schedule import cosine_betas, linear_betas, sigmoid_betas

LINEAR = NoiseSchedule(linear_betas(1000))
EVERY = [0, 1, 99, 499, 999]


def signal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Printed by the methods that use this schedule, to six and eight digits.
@pytest.mark.parametrize(
    ("t", "left"),
    [
        (0, 0.9999),
        (1, 0.99978009),
        (9, 0.99810520),
        (99, 0.89701815),
        (111, 0.873605),
        (222, 0.596809),
        (249, 0.52408537),
        (499, 0.07858724),
        (749, 3.3505504e-3),
        (900, 2.70245e-4),
        (999, 4.0358298e-5),
    ],
)
def test_what_is_left_under_the_linear_schedule(t, left):
    assert LINEAR.share(t) == pytest.approx(left, rel=2e-6)
    assert LINEAR.share(t) == pytest.approx(math.prod(1 - (1e-4 + s * (0.02 - 1e-4) / 999) for s in range(t + 1)))


def test_the_cosine_schedule_is_a_squared_cosine():
    schedule = NoiseSchedule(cosine_betas(1000))

    def left(t):
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0, 10, 500, 900):
        assert schedule.share(t) == pytest.approx(left(t + 1) / left(0), rel=1e-9)
    assert cosine_betas(1000)[-1] == 0.999


def test_the_sigmoid_schedule_is_half_gone_in_the_middle():
    schedule = NoiseSchedule(sigmoid_betas(1000))
    assert schedule.share(499) == pytest.approx(0.5, abs=1e-12)
    assert schedule.share(999) == pytest.approx(3.0e-7, rel=0.02)


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
def test_less_is_left_after_every_step(name):
    schedule = NoiseSchedule(ScheduleConfig(schedule=name, steps=300).betas())
    assert schedule.steps == 300
    assert schedule.share(-1) == 1
    assert all(schedule.share(t) < schedule.share(t - 1) for t in range(300))


@pytest.mark.parametrize("t", [0, 111, 222, 499, 900, 999])
def test_moments_of_a_noised_signal(t):
    torch.manual_seed(0)
    noised = LINEAR.add_noise(torch.full((1, 100_000), 2.0), torch.randn(1, 100_000), t)
    left = LINEAR.share(t)
    assert noised.mean().item() == pytest.approx(2 * math.sqrt(left), abs=0.02)
    assert noised.var().item() == pytest.approx(1 - left, rel=0.02)


def test_each_sample_of_a_batch_has_its_own_step():
    clean, noise = signal(2, 3, 8, 8), signal(2, 3, 8, 8, seed=1)
    both = LINEAR.add_noise(clean, noise, torch.tensor([0, 999]))
    for sample, t in enumerate((0, 999)):
        torch.testing.assert_close(both[sample : sample + 1], LINEAR.add_noise(clean[[sample]], noise[[sample]], t))
    assert (both[0] - clean[0]).abs().max() < 0.1
    assert abs(torch.corrcoef(torch.stack([both[1].flatten(), clean[1].flatten()]))[0, 1]) < 0.2


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
@pytest.mark.parametrize("t", EVERY)
def test_the_true_noise_gives_the_signal_back_and_the_signal_the_noise(t, dtype, tolerance):
    clean, noise = signal(2, 1, 6, 5, 4, dtype=dtype), signal(2, 1, 6, 5, 4, seed=1, dtype=dtype)
    noisy = LINEAR.add_noise(clean, noise, t)
    assert noisy.dtype == dtype
    assert (LINEAR.clean_from_noise(noisy, noise, t) - clean).abs().max() < tolerance
    assert (LINEAR.noise_from_clean(noisy, clean, t) - noise).abs().max() < tolerance


@pytest.mark.parametrize("t", EVERY)
def test_an_error_in_the_noise_weighs_more_in_the_signal(t):
    clean, noise, wrong = (signal(4, 2, 9, seed=seed) for seed in range(3))
    believed = LINEAR.clean_from_noise(LINEAR.add_noise(clean, noise, t), wrong, t)
    ratio = (clean - believed).square().mean() / (noise - wrong).square().mean()
    assert ratio.item() == pytest.approx(1 / LINEAR.share(t) - 1, rel=1e-9)


def test_drawn_steps_are_uniform_with_both_ends():
    torch.manual_seed(0)
    drawn = LINEAR.draw(100_000)
    assert (drawn.min(), drawn.max()) == (0, 999)
    assert drawn.float().mean().item() == pytest.approx(499.5, abs=3)
    assert set(LINEAR.draw(200, 5, 7).tolist()) == {5, 6, 7}


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_leaves_the_right_mean_and_variance(eta):
    """Whatever is random in it, a step from an exact ``x_t`` with the true signal ends at an ``x_to`` of the forward process."""
    torch.manual_seed(0)
    clean = torch.full((1, 200_000), -1.0, dtype=torch.float64)
    noisy = LINEAR.add_noise(clean, torch.randn_like(clean), 555)
    there = LINEAR.step(noisy, clean, 555, 444, eta=eta)
    left = LINEAR.share(444)
    assert there.mean().item() == pytest.approx(-math.sqrt(left), abs=0.01)
    assert there.var().item() == pytest.approx(1 - left, rel=0.02)
    moved = torch.corrcoef(torch.cat([noisy, there]))[0, 1].item()
    assert (moved > 0.999) == (eta == 0), "only the deterministic step keeps the noise"


def test_one_step_at_full_randomness_is_the_posterior():
    """``q(x_{t-1} | x_t, x_0)`` of Ho, Jain & Abbeel (2020), Eq. 7: its mean by two coefficients, its variance."""
    t, beta = 500, linear_betas(1000)[500].item()
    here, there = LINEAR.share(t), LINEAR.share(t - 1)
    clean, noisy = (
        torch.full((1, 400_000), 0.7, dtype=torch.float64),
        torch.full((1, 400_000), -0.3, dtype=torch.float64),
    )
    torch.manual_seed(0)
    drawn = LINEAR.step(noisy, clean, t, t - 1, eta=1)
    mean = (math.sqrt(there) * beta * 0.7 + math.sqrt(1 - beta) * (1 - there) * -0.3) / (1 - here)
    variance = (1 - there) / (1 - here) * beta
    assert drawn.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / 400_000))
    assert drawn.var().item() == pytest.approx(variance, rel=0.01)


def test_a_label_shows_through_its_noise():
    """The share of voxels whose argmax is still right, for two classes at -1 and 1: Phi(sqrt(2 a / (1 - a)))."""
    torch.manual_seed(0)
    label = torch.randint(2, (1, 40_000))
    clean = 2 * torch.nn.functional.one_hot(label, 2).movedim(-1, 1).float() - 1
    for t, right in ((222, 0.957), (444, 0.710), (999, 0.504)):
        noisy = LINEAR.add_noise(clean, torch.randn_like(clean), t)
        assert (noisy.argmax(1) == label).float().mean().item() == pytest.approx(right, abs=0.01)


# Made with diffusers 0.42.1: DDIMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear",
# prediction_type="sample", clip_sample=False), x_555 = 0.3, x_0 = -0.8; and alphas_cumprod of "squaredcos_cap_v2".
DIFFUSERS_STEP, DIFFUSERS_NOISED = 0.15238967625193794, 0.12706759983348934
DIFFUSERS_COSINE = [0.9999586939811707, 0.4922850430011749, 2.428766265438753e-06]


def test_values_of_an_independent_implementation():
    noisy, clean = torch.full((1, 1), 0.3, dtype=torch.float64), torch.full((1, 1), -0.8, dtype=torch.float64)
    assert LINEAR.step(noisy, clean, 555, 444).item() == pytest.approx(DIFFUSERS_STEP, abs=1e-6)
    assert LINEAR.add_noise(clean, noisy, 555).item() == pytest.approx(DIFFUSERS_NOISED, abs=1e-6)
    cosine = NoiseSchedule(cosine_betas(1000))
    assert [cosine.share(t) for t in (0, 500, 998)] == pytest.approx(DIFFUSERS_COSINE, abs=1e-6)


@pytest.mark.parametrize(("name", "betas"), [("linear", linear_betas(1000)), ("squaredcos_cap_v2", cosine_betas(1000))])
def test_every_step_of_diffusers_schedulers(name, betas):
    diffusers = pytest.importorskip("diffusers")
    schedule = NoiseSchedule(betas)
    settings = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": name, "prediction_type": "sample"}
    ddim = diffusers.DDIMScheduler(1000, **settings, clip_sample=False, set_alpha_to_one=True)
    ddpm = diffusers.DDPMScheduler(1000, **settings, clip_sample=False)
    for theirs in (ddim, ddpm):
        torch.testing.assert_close(theirs.alphas_cumprod.double(), schedule.retained[1:], rtol=0, atol=1e-6)
        theirs.alphas_cumprod = schedule.retained[1:]  # theirs are float32: rounding apart, the formulas are compared
    ddim.set_timesteps(10)
    clean, noise = signal(2, 3, 4), signal(2, 3, 4, seed=1)
    for t in (*range(0, 1000, 37), 999):
        wanted = ddim.add_noise(clean, noise, torch.tensor([t, t]))
        torch.testing.assert_close(schedule.add_noise(clean, noise, t), wanted, rtol=0, atol=1e-6)
        if t >= 100:
            wanted = ddim.step(clean, t, noise).prev_sample
            torch.testing.assert_close(schedule.step(noise, clean, t, t - 100), wanted, rtol=0, atol=1e-6)
        torch.manual_seed(t)
        wanted = ddpm.step(clean, t, noise).prev_sample
        torch.manual_seed(t)
        torch.testing.assert_close(schedule.step(noise, clean, t, t - 1, eta=1), wanted, rtol=0, atol=1e-6)
