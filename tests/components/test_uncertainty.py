from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fewmask.components.noise import consistency_noise
from fewmask.components.uncertainty import entropy, monte_carlo_softmax


class Counting(nn.Module):
    """Logits that depend on how many samples came before, and a record of the inputs."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, image):
        logits = []
        for sample in image:
            logits.append(torch.cat([sample, torch.full_like(sample, float(len(self.seen) % 7))]))
            self.seen.append(sample.clone())
        return torch.stack(logits)


def test_entropy_by_hand():
    p = torch.tensor([[[0.5, 1.0, 0.2], [0.5, 0.0, 0.8]]])
    wanted = [np.log(2), 0.0, -0.2 * np.log(0.2) - 0.8 * np.log(0.8)]
    np.testing.assert_allclose(entropy(p)[0].numpy(), wanted, atol=5e-6)
    assert entropy(torch.full((1, 4, 2), 0.25))[0].tolist() == pytest.approx([np.log(4)] * 2, abs=5e-6)
    # The published constant inside the logarithm, seen where it matters.
    assert entropy(torch.tensor([[[1e-6], [0.0]]])).item() == pytest.approx(-1e-6 * np.log(2e-6), rel=1e-4)


@pytest.mark.parametrize("passes", [1, 2, 5, 8])
def test_monte_carlo_softmax_averages_every_pass(passes):
    network, images = Counting(), torch.randn(3, 1, 4, generator=torch.Generator().manual_seed(0))
    mean = monte_carlo_softmax(network, images, passes, noise=0.0)
    assert len(network.seen) == 3 * passes
    wanted = np.zeros((3, 2, 4))
    for number in range(3 * passes):  # the passes go through one after another, each with the whole batch
        sample = images[number % 3].numpy().astype(np.float64)
        powers = np.exp(np.concatenate([sample, np.full_like(sample, number % 7)]))
        wanted[number % 3] += powers / powers.sum(0) / passes
    np.testing.assert_allclose(mean.numpy(), wanted, atol=1e-6)


def test_every_pass_has_its_own_noise_and_no_gradient():
    network, images = Counting(), torch.zeros(1, 1, 1000, requires_grad=True)
    mean = monte_carlo_softmax(network, images, 4, noise=0.1)
    assert not mean.requires_grad
    assert len({tuple(sample.flatten().tolist()) for sample in network.seen}) == 4


def test_dropout_makes_the_passes_differ():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Dropout(0.5), nn.Conv1d(1, 2, 1)).train()
    images = torch.ones(1, 1, 200)
    assert monte_carlo_softmax(network, images, 8, 0.0).std() > 0


def test_noise_is_clipped_at_twice_its_deviation():
    torch.manual_seed(0)
    noise = consistency_noise(torch.full((100_000,), 5.0), 0.1) - 5
    assert noise.abs().max() <= 0.2 + 1e-6
    # The standard deviation of a unit normal clipped at 2 is 0.9595.
    assert noise.std().item() == pytest.approx(0.09595, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=2e-3)
    assert torch.equal(consistency_noise(torch.ones(3), 0.0), torch.ones(3))
