from __future__ import annotations

import pytest
import torch

from fewmask.networks.perturbations import attention_drop, feature_noise


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (3, 4, 4, 8, 8)])
def test_noise_is_relative_bounded_and_shared_by_the_batch(shape):
    torch.manual_seed(0)
    features = torch.rand(shape) + 0.5
    change = feature_noise(features, 0.3) / features - 1
    assert change.abs().max() <= 0.3 + 1e-6
    assert change.min() < -0.25
    assert change.max() > 0.25
    torch.testing.assert_close(change[0], change[1], atol=1e-6, rtol=0)
    assert change[0].std(0).max() > 0.1


@pytest.mark.parametrize("dims", [2, 3])
def test_attention_drop_by_hand(dims):
    # Channel means 1, 2, ..., 10 in one sample and ten times that in the other; the threshold is 0.75 of each maximum.
    row = torch.arange(1.0, 11.0).view(*[1] * (dims - 1), 10)
    features = torch.stack([torch.stack([0.5 * row, 1.5 * row]), torch.stack([5 * row, 15 * row])])
    dropped = attention_drop(features, 0.75, 0.75 + 1e-6)
    assert torch.equal(dropped[..., :7], features[..., :7])
    assert dropped[..., 7:].abs().sum() == 0


def test_attention_drop_draws_a_share_between_its_bounds():
    torch.manual_seed(0)
    features = torch.linspace(0, 1, 1001).view(1, 1, 1, 1001)
    shares = [(attention_drop(features) > 0).sum().item() / 1000 for _ in range(200)]
    assert min(shares) == pytest.approx(0.7, abs=0.01)
    assert max(shares) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("perturb", [feature_noise, attention_drop])
def test_gradient_passes(perturb):
    features = torch.rand(2, 3, 4, 4, requires_grad=True)
    perturb(features).sum().backward()
    assert features.grad.abs().sum() > 0
