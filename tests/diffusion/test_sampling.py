"""Which steps are taken, and where the loop ends."""

from __future__ import annotations

import pytest
import torch

from fewmask.diffusion import NoiseSchedule, ddim, evenly_spaced, step_pairs
from fewmask.diffusion.schedule import linear_betas
from fewmask.errors import ConfigError

LINEAR = NoiseSchedule(linear_betas(1000))


def test_chosen_steps_hold_both_ends():
    assert evenly_spaced(1000, 10) == [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
    assert evenly_spaced(1000, 1) == [999]
    assert evenly_spaced(1000, 2) == [999, 0]
    assert evenly_spaced(7, 7) == [6, 5, 4, 3, 2, 1, 0]
    for count in (3, 37, 640, 999):
        chosen = evenly_spaced(1000, count)
        assert len(set(chosen)) == count
        assert sorted(chosen, reverse=True) == chosen
    for count in (0, 1001):
        with pytest.raises(ConfigError, match="1 to 1000"):
            evenly_spaced(1000, count)


def test_the_last_step_leads_to_the_clean_signal():
    assert step_pairs([999, 500, 0]) == [(999, 500), (500, 0), (0, -1)]
    assert step_pairs([999]) == [(999, -1)]


@pytest.mark.parametrize("count", [1, 2, 5, 10, 100])
def test_a_perfect_denoiser_ends_at_the_signal(count):
    torch.manual_seed(0)
    clean = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    noisy = torch.randn_like(clean)
    seen = []

    def predict(x, t):
        seen.append((t.tolist(), x))
        return clean

    ddim(predict, noisy, LINEAR, evenly_spaced(1000, count))
    assert [t for t, _ in seen] == [[t, t] for t in evenly_spaced(1000, count)]
    # On its way it is where the forward process would be with the noise that it started from.
    start = LINEAR.noise_from_clean(noisy, clean, 999)
    for (t, _), x in seen:
        torch.testing.assert_close(x, LINEAR.add_noise(clean, start, t), rtol=0, atol=1e-12)
    x = noisy
    for t, to in step_pairs(evenly_spaced(1000, count)):
        x = LINEAR.step(x, clean, t, to)
    torch.testing.assert_close(x, clean, rtol=0, atol=1e-12)


def test_one_step_from_an_exact_signal_keeps_the_noise():
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 1, 3, 4, 5, dtype=torch.float64), torch.randn(2, 1, 3, 4, 5, dtype=torch.float64)
    there = LINEAR.step(LINEAR.add_noise(clean, noise, 555), clean, 555, 444)
    torch.testing.assert_close(there, LINEAR.add_noise(clean, noise, 444), rtol=0, atol=1e-12)


def test_the_noise_is_derived_from_the_mapped_output():
    """Outputs of unknown scale are mapped to the label's range first; the output itself comes back."""
    torch.manual_seed(0)
    noise = torch.randn(1, 2, 4, 4)
    seen = []

    def predict(x, t):
        seen.append(x)
        return 50 * torch.stack([x[:, 0], -x[:, 1]], 1)

    def to_clean(logits):
        return 2 * logits.softmax(1) - 1

    output = ddim(predict, noise, LINEAR, [999, 500, 0], to_clean=to_clean)
    first = 50 * torch.stack([noise[:, 0], -noise[:, 1]], 1)
    torch.testing.assert_close(seen[1], LINEAR.step(noise, to_clean(first), 999, 500))
    torch.testing.assert_close(output, 50 * torch.stack([seen[2][:, 0], -seen[2][:, 1]], 1))


def test_randomness_enters_by_eta_alone():
    def predict(x, t):
        return x.tanh()

    noise = torch.ones(1, 1, 3, 3)
    for eta, same in ((0.0, True), (1.0, False)):
        results = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            results.append(ddim(predict, noise, LINEAR, [999, 500, 0], eta=eta))
        assert torch.equal(*results) is same
