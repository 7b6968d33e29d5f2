"""Parameter and multiply-add counts that papers print or that follow from their layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fewmask.errors import ConfigError
from fewmask.networks import NETWORKS
from fewmask.networks.counting import Macs, count_macs, count_parameters
from fewmask.networks.high_frequency_mamba import HFMConfig

LEFT_ATRIUM = (1, 1, 112, 112, 80)
BRATS = (1, 1, 96, 96, 96)


@pytest.mark.parametrize(
    ("name", "dims", "classes", "options", "expected"),
    [
        ("vnet", 3, 2, {}, 9_448_866),
        ("vnet", 3, 2, {"decoders": [0, 1]}, 12_347_716),
        ("vnet", 3, 2, {"decoders": ["transposed", "linear"]}, 12_347_716),
        ("vnet", 3, 2, {"decoders": [0, 1, 2]}, 15_246_566),
        ("unet-3d", 3, 2, {"pyramid": True}, 5_884_504),
        # The pyramid without its three lower heads: 1x1x1 convolutions of 32, 64 and 128 channels to 2.
        ("unet-3d", 3, 2, {}, 5_884_504 - 2 * (32 + 64 + 128 + 3)),
        ("unet-2d", 2, 4, {}, 1_813_764),
        ("unet-2d", 2, 4, {"pyramid": True}, 1_813_764 + 4 * (9 * (32 + 64 + 128) + 3)),
        ("resnet34-vnet", 3, 2, {}, 17_930_354),
    ],
)
def test_parameters(name, dims, classes, options, expected):
    assert count_parameters(NETWORKS[name](dims, 1, classes, **options)) == expected


@pytest.mark.parametrize(
    ("dims", "channels", "classes", "expected"),
    [(2, 5, 2, 7_411_458), (2, 5, 3, 7_412_035), (3, 3, 2, 26_725_058), (3, 3, 1, 26_723_329)],
)
def test_parameters_of_the_diffusion_pathways(dims, channels, classes, expected):
    """Mask and image pathway of RGB images and of grey volumes, two classes."""
    assert count_parameters(NETWORKS["diffusion-unet"](dims, channels, classes, time=True)) == expected


@pytest.mark.parametrize(
    ("name", "given", "found", "side", "options"),
    [
        ("vnet", 1, 2, (112, 112, 80), {"hfm": HFMConfig()}),
        ("vnet", 1, 2, (96, 96, 96), {"hfm": HFMConfig()}),
        ("vnet", 3, 2, (112, 112, 80), {"time": True}),
        ("vnet", 3, 2, (96, 96, 96), {"time": True}),
        ("diffusion-unet", 5, 2, (128, 128), {"time": True}),
        ("diffusion-unet", 5, 3, (128, 128), {"time": True}),
        ("diffusion-unet", 3, 2, (96, 96, 80), {"time": True}),
        ("diffusion-unet", 3, 1, (96, 96, 80), {"time": True}),
    ],
)
def test_published_patches_pass(name, given, found, side, options):
    """Both networks of Diff-CL, and the pathways of diffusion co-training; nothing is computed."""
    with torch.device("meta"):
        network = NETWORKS[name](len(side), given, found, **options).eval()
        steps = (torch.zeros(2, dtype=torch.int64),) if "time" in options else ()
        assert network(torch.zeros(2, given, *side), *steps).shape == (2, found, *side)
        with pytest.raises(ConfigError, match="every side to be a multiple of 16"):
            network(torch.zeros(2, given, side[0] + 8, *side[1:]), *steps)


def test_parameters_of_the_heterogeneous_pair():
    assert sum(count_parameters(NETWORKS[name](3, 1, 2)) for name in ("vnet", "resnet34-vnet")) == 27_379_220


def test_a_head_adds_one_convolution():
    plain, extra = NETWORKS["vnet"](3, 1, 2), NETWORKS["vnet"](3, 1, 2, heads={"distance": 1})
    assert count_parameters(extra) - count_parameters(plain) == 16 + 1


def test_frozen_parameters_are_not_counted():
    network = nn.Linear(3, 2)
    network.bias.requires_grad_(False)
    assert count_parameters(network) == 6


@pytest.mark.parametrize(
    ("shape", "convolutions", "published"), [(LEFT_ATRIUM, "40.109", "47.10"), (BRATS, "35.361", "41.53")]
)
def test_macs_of_the_vnet_are_the_printed_ones(shape, convolutions, published):
    macs = count_macs(NETWORKS["vnet"](3, 1, 2), shape)
    assert f"{macs.convolutions / 1e9:.3f}" == convolutions
    assert f"{macs.published / 1e9:.2f}" == published


@pytest.mark.parametrize(("shape", "ours", "printed"), [(LEFT_ATRIUM, "126.84", 126.95), (BRATS, "111.83", 111.92)])
def test_macs_of_the_pair_are_within_a_thousandth_of_the_printed_ones(shape, ours, printed):
    published = sum(count_macs(NETWORKS[name](3, 1, 2), shape).published for name in ("vnet", "resnet34-vnet"))
    assert f"{published / 1e9:.2f}" == ours
    assert published / 1e9 == pytest.approx(printed, rel=1e-3)


def test_macs_of_single_layers_by_hand():
    shape = (2, 4, 6, 8)
    # 2 x 8 x 6 x 8 outputs, each of 4 / 2 x 9 products and a bias.
    assert count_macs(nn.Conv2d(4, 8, 3, padding=1, groups=2), shape) == Macs(768 * 18, 768 * 19)
    # Really 4 x 8 products per input voxel-channel; the profiler charges 4 x 4 to each of 2 x 8 x 12 x 16 outputs.
    assert count_macs(nn.ConvTranspose2d(4, 8, 2, 2, bias=False), shape) == Macs(384 * 32, 3072 * 16)
    assert count_macs(nn.BatchNorm2d(4), shape) == Macs(0, 2 * 384)
    assert count_macs(nn.Sequential(nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2)), shape) == Macs(0, 0)
    assert count_macs(nn.Linear(8, 5), shape) == Macs(2 * 4 * 6 * 8 * 5, 2 * 4 * 6 * 8 * 5)


def test_counting_computes_nothing():
    # 4 TB of activations: possible only from shapes.
    shape = (100_000, 1, 512, 512)
    assert count_macs(nn.Conv2d(1, 64, 3, padding=1, bias=False), shape).convolutions == 100_000 * 512 * 512 * 64 * 9
