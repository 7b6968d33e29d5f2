from __future__ import annotations

import math

import pytest
import torch

from fewmask.diffusion import TimeMLP, sinusoidal_embedding
from fewmask.networks.counting import count_parameters


def test_sines_then_cosines_of_falling_rates():
    embedded = sinusoidal_embedding(torch.tensor([0, 7]), 128)
    assert embedded.shape == (2, 128)
    assert embedded[0].tolist() == [0.0] * 64 + [1.0] * 64
    for i in (0, 1, 31, 63):
        angle = 7 * 10000 ** (-i / 63)
        assert embedded[1, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert embedded[1, 64 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_all_steps_differ():
    embedded = sinusoidal_embedding(torch.arange(1000), 64)
    assert torch.cdist(embedded, embedded).fill_diagonal_(1).min() > 1e-2


def test_equals_diffusers_embedding():
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    t = torch.arange(1000)
    wanted = embeddings.get_timestep_embedding(t, 128, downscale_freq_shift=1)
    torch.testing.assert_close(sinusoidal_embedding(t, 128), wanted, rtol=0, atol=2e-4)


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_two_linear_maps_with_an_activation_between(activation):
    mlp = TimeMLP(8, 16, 4, activation)
    assert count_parameters(mlp) == 8 * 16 + 16 + 16 * 4 + 4
    t = torch.tensor([3, 500])
    first, _, second = mlp.layers
    inner = getattr(torch.nn.functional, activation)(first(sinusoidal_embedding(t, 8)))
    torch.testing.assert_close(mlp(t), second(inner))
