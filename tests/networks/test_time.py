"""Networks that are told a diffusion step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fewmask.config import NetworkConfig
from fewmask.errors import ConfigError
from fewmask.networks import NETWORKS, build_network
from fewmask.networks.conditioning import Chain, Shifted
from fewmask.networks.counting import count_parameters
from fewmask.task import Task

PLACES = [("vnet", 2), ("vnet", 3), ("unet-2d", 2), ("unet-3d", 3), ("diffusion-unet", 2), ("diffusion-unet", 3)]
each = pytest.mark.parametrize(("name", "dims"), PLACES)


def build(name, dims, **options):
    torch.manual_seed(0)
    task = Task(dims, 1, ("background", "organ"), (32,) * dims, (1.0,) * dims)
    config = NetworkConfig(name=name, width=4)
    return build_network(task, config, in_channels=3, time=True, **options).eval()


def images(dims, batch=3):
    return torch.randn(batch, 3, *(32, 16, 16)[:dims], generator=torch.Generator().manual_seed(1))


def test_published_size_of_the_diffusion_vnet():
    assert count_parameters(NETWORKS["vnet"](3, 3, 2, time=True)) == 10_837_266


@pytest.mark.parametrize("name", ["unet-2d", "unet-3d"])
def test_size_of_a_unet_s_embedding(name):
    dims = NETWORKS[name].spatial_dims[0]
    timed, plain = (NETWORKS[name](dims, 3, 2, width=8, time=time) for time in (True, False))
    assert count_parameters(timed) - count_parameters(plain) == 8 * 32 + 32 + 32 * 8 + 8


@each
def test_a_network_without_time_has_the_same_weights_by_the_same_names(name, dims):
    torch.manual_seed(0)
    plain = NETWORKS[name](dims, 3, 2, width=4)
    torch.manual_seed(0)
    timed = NETWORKS[name](dims, 3, 2, width=4, time=True)
    shapes = {key.replace("layer.", ""): value.shape for key, value in timed.state_dict().items()}
    assert {key: value.shape for key, value in plain.state_dict().items()}.items() <= shapes.items()


@each
def test_the_output_depends_on_every_channel_and_on_the_step(name, dims):
    network, image, t = build(name, dims), images(dims), torch.tensor([0, 500, 999])
    with torch.no_grad():
        logits = network(image, t)
        assert torch.equal(network.forward_all(image, t).logits[0], logits)
        assert not torch.allclose(network(image, t.flip(0))[0], logits[0])
        for channel in range(3):
            changed = image.clone()
            changed[:, channel] += 1
            assert not torch.allclose(network(changed, t), logits)


@each
def test_each_sample_has_its_own_step(name, dims):
    network, image, t = build(name, dims), images(dims), torch.tensor([0, 500, 999])
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        torch.testing.assert_close(network(image[order], t[order]), network(image, t)[order])


@each
def test_without_its_last_map_the_embedding_says_nothing(name, dims):
    network, image = build(name, dims), images(dims, 1)
    mlp = network.time[0] if isinstance(network.time, nn.Sequential) else network.time
    nn.init.zeros_(mlp.layers[2].weight)
    with torch.no_grad():
        early, late = (network(image, torch.tensor([t])) for t in (0, 999))
    assert torch.equal(early, late)


@pytest.mark.parametrize("dims", [2, 3])
def test_which_layers_of_the_vnet_are_shifted(dims):
    """Each down- and up-step and all but the last convolution of a block: 4 + 4 + (0, 1, 2, 2, 2) + (2, 2, 1, 0)."""
    network = build("vnet", dims)
    shifts = {name: part for name, part in network.named_modules() if isinstance(part, Shifted)}
    assert len(shifts) == 20
    assert sum(name.startswith("encoder") for name in shifts) == 11
    for chain in (part for part in network.modules() if isinstance(part, Chain)):
        assert not isinstance(chain[-1], Shifted)


def test_every_shift_learns():
    network = build("vnet", 2).train()
    network(images(2), torch.tensor([1, 2, 3])).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters() if p.ndim > 1)


def test_a_shift_moves_every_place_alike():
    layer = Shifted(nn.Identity(), 2, 3)
    x, code = torch.randn(2, 3, 4, 5), torch.randn(2, 2)
    moved = layer(x, code) - x
    torch.testing.assert_close(moved, layer.shift(code)[..., None, None].expand(2, 3, 4, 5))


def test_a_step_too_many_or_too_few():
    timed, image = build("vnet", 2), images(2)
    plain = NETWORKS["vnet"](2, 3, 2, width=4)
    with pytest.raises(ConfigError, match="VNet needs the diffusion step"):
        timed(image)
    for call in (plain, plain.forward_all):
        with pytest.raises(ConfigError, match="VNet takes no diffusion step"):
            call(image, torch.tensor([1, 2, 3]))
    with pytest.raises(ConfigError, match="resnet34-vnet is not made for diffusion steps"):
        NETWORKS["resnet34-vnet"](2, 3, 2, width=4, time=True)


def test_channels_that_are_not_the_task_s():
    network = build("vnet", 2, out_channels=5)
    assert network(images(2), torch.tensor([1, 2, 3])).shape == (3, 5, 32, 16)
