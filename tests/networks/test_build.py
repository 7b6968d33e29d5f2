from __future__ import annotations

import pytest
import torch

from fewmask.config import NetworkConfig
from fewmask.errors import ConfigError
from fewmask.networks import NETWORKS, build_network
from fewmask.networks.blocks import norm_layers, up_steps, upsample
from fewmask.networks.resnet_vnet import ResNet34VNet
from fewmask.networks.unet_2d import UNet2D
from fewmask.networks.unet_3d import UNet3D
from fewmask.networks.vnet import VNet
from fewmask.task import Task


def task(dims: int, channels: int = 1) -> Task:
    return Task(dims, channels, ("background", "organ"), (32,) * dims, (1.0,) * dims)


@pytest.mark.parametrize(("dims", "kind"), [(2, UNet2D), (3, VNet)])
def test_default_network(dims, kind):
    assert type(build_network(task(dims), NetworkConfig())) is kind


@pytest.mark.parametrize(("name", "kind"), [("vnet", VNet), ("unet-3d", UNet3D), ("resnet34-vnet", ResNet34VNet)])
def test_names(name, kind):
    assert NETWORKS[name] is kind
    assert type(build_network(task(3), NetworkConfig(name=name, width=2))) is kind


def test_options_reach_the_family():
    network = build_network(
        task(2), NetworkConfig(name="vnet", width=2), decoders=["linear", "cubic"], heads={"sdf": 3}
    )
    output = network.eval().forward_all(torch.zeros(1, 1, 32, 32))
    assert len(output.logits) == 2
    assert output.heads["sdf"].shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("dims", "name", "options", "message"),
    [
        (3, "vnett", {}, "there is no network named 'vnett': did you mean 'vnet'"),
        (
            2,
            "unet-3d",
            {},
            "UNet3D is a 3D network but the images are 2D; .*: diffusion-unet, resnet34-vnet, unet-2d, vnet",
        ),
        (
            3,
            "unet-2d",
            {},
            "UNet2D is a 2D network but the images are 3D; .*: diffusion-unet, resnet34-vnet, unet-3d, vnet",
        ),
        (3, "vnet", {"decoder": [0]}, "network vnet has no option 'decoder': did you mean 'decoders'"),
        (3, "diffusion-unet", {"decoders": [0]}, "network diffusion-unet has no option 'decoders'"),
        (3, "unet-3d", {"decoders": 2, "pyramid": True}, "a pyramid of heads needs one decoder"),
        (3, "unet-3d", {"decoders": ["cubic"]}, "cubic upsampling exists for 2D images only"),
        (3, "vnet", {"decoders": 0}, "decoders must be a list of one or more"),
        (3, "vnet", {"decoders": ["transpose"]}, "there is no up-step 'transpose': did you mean 'transposed'"),
        (3, "vnet", {"decoders": [7]}, "there is no up-step 7: valid: cubic, linear, nearest, transposed"),
        (3, "vnet", {"decoders": []}, "decoders must be a list of one or more"),
        (3, "vnet", {"decoders": "linear"}, "decoders must be a list of one or more"),
        (3, "vnet", {"decoders": ["cubic"]}, "cubic upsampling exists for 2D images only"),
        (2, "unet-2d", {"decoders": [0, 1], "pyramid": True}, "a pyramid of heads needs one decoder"),
    ],
)
def test_wrong_settings(dims, name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_network(task(dims), NetworkConfig(name=name, width=2), **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (1, 1, 100, 112, 90),
            "VNet needs every side to be a multiple of 16, but the patch is 100 x 112 x 90; "
            "use 96 or 112 instead of 100, 80 or 96 instead of 90",
        ),
        ((1, 1, 32, 32, 8), "use 16 instead of 8"),
        ((1, 1, 100, 100, 32), "use 96 or 112 instead of 100$"),
        (
            (1, 2, 32, 32, 32),
            r"VNet takes images of shape \(batch, 1, side, side, side\), but got \(1, 2, 32, 32, 32\)",
        ),
        ((1, 1, 32, 32), r"but got \(1, 1, 32, 32\)"),
    ],
)
def test_wrong_images(shape, message):
    network = VNet(3, 1, 2, width=2)
    for call in (network, network.forward_all, network.encode):
        with pytest.raises(ConfigError, match=message):
            call(torch.zeros(shape))


def test_unknown_norm():
    with pytest.raises(ConfigError, match="there is no norm named 'bach': did you mean 'batch'"):
        norm_layers("bach", 2, 16)


def test_group_norm_divides_any_width():
    assert [norm_layers("group", 2, channels)[0].num_groups for channels in (16, 12, 5)] == [8, 4, 1]


def test_up_steps_by_number_and_name():
    assert up_steps([0, 1, 2, 3], "linear") == up_steps(["transposed", "linear", "nearest", "cubic"], "linear")


def test_a_number_of_decoders_means_the_family_s_own():
    assert up_steps(3, "nearest") == ["nearest"] * 3
    for name, own in (("vnet", "transposed"), ("unet-3d", "linear")):
        twice = build_network(task(3), NetworkConfig(name=name, width=2), decoders=2)
        assert shapes(twice) == shapes(build_network(task(3), NetworkConfig(name=name, width=2), decoders=[own, own]))


def shapes(network):
    return [tuple(parameter.shape) for parameter in network.parameters()]


def test_linear_upsampling_aligns_corners():
    # Positions 0, 1/3, 2/3, 1 between the two values, where unaligned corners give 0, 1/4, 3/4, 1.
    row = upsample(2, "linear")(torch.tensor([[[[0.0, 3.0]]]]))[0, 0, 0]
    torch.testing.assert_close(row, torch.tensor([0.0, 1.0, 2.0, 3.0]))
