from __future__ import annotations

import pytest
import torch
from torch import nn

from fewmask.errors import ConfigError
from fewmask.networks import initialise
from fewmask.networks.vnet import VNet


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(20, 40, 3), nn.BatchNorm3d(40), nn.ConvTranspose3d(40, 80, 2, 2), nn.GroupNorm(8, 80)
    )


@pytest.mark.parametrize(
    ("how", "conv", "transposed"),
    [
        # Fan in 20 x 27 and fan out 40 x 27; torch takes a transposed convolution's fan in from its output channels.
        ("kaiming", 2 / (20 * 27), 2 / (80 * 8)),
        ("xavier", 2 / (60 * 27), 2 / (120 * 8)),
    ],
)
def test_variances(how, conv, transposed):
    torch.manual_seed(0)
    layers = initialise(network(), how)
    assert layers[0].weight.var().item() == pytest.approx(conv, rel=0.05)
    assert layers[2].weight.var().item() == pytest.approx(transposed, rel=0.05)
    assert abs(layers[0].weight.mean().item()) < 0.05 * conv**0.5


def test_norms_become_neutral():
    layers = network()
    for layer in (layers[1], layers[3]):
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    initialise(layers, "xavier")
    for layer in (layers[1], layers[3]):
        assert torch.equal(layer.weight, torch.ones_like(layer.weight))
        assert torch.equal(layer.bias, torch.zeros_like(layer.bias))


def test_biases_of_convolutions_stay():
    layers = network()
    before = layers[0].bias.clone()
    initialise(layers, "kaiming")
    assert torch.equal(layers[0].bias, before)


def test_norms_without_affine_part_are_skipped():
    initialise(nn.Sequential(nn.InstanceNorm2d(4)), "kaiming")


def test_seed_fixes_the_draw():
    first, second = VNet(2, 1, 2, width=4), VNet(2, 1, 2, width=4)
    torch.manual_seed(3)
    initialise(first, "xavier")
    torch.manual_seed(3)
    initialise(second, "xavier")
    weights = [dict(one.named_parameters()) for one in (first, second)]
    drawn = [key for key, value in weights[0].items() if value.ndim > 1]
    assert drawn
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in drawn)
    initialise(second, "xavier")
    assert not any(torch.equal(weights[0][key], weights[1][key]) for key in drawn)


def test_unknown_name():
    with pytest.raises(ConfigError, match="there is no initialisation named 'kaimin': did you mean 'kaiming'"):
        initialise(network(), "kaimin")
