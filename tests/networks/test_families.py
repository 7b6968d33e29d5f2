"""What each family promises besides the contract: layers, rates, taps, perturbable features, pyramids."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fewmask.networks.resnet_vnet import ResNet34VNet
from fewmask.networks.unet_2d import UNet2D
from fewmask.networks.unet_3d import UNet3D
from fewmask.networks.vnet import VNet


def rates(network: nn.Module) -> list[tuple[str, float]]:
    kinds = (nn.Dropout, nn.Dropout2d, nn.Dropout3d)
    return [(type(module).__name__, module.p) for module in network.modules() if isinstance(module, kinds)]


@pytest.mark.parametrize(
    ("network", "published", "given"),
    [
        (VNet, [("Dropout3d", 0.5)] * 2, [("Dropout3d", 0.2)] * 2),
        (ResNet34VNet, [("Dropout3d", 0.5)], [("Dropout3d", 0.2)]),
        (UNet3D, [("Dropout", 0.3)] * 2, [("Dropout", 0.2)] * 2),
    ],
)
def test_dropout_rates_in_3d(network, published, given):
    assert rates(network(3, 1, 2, width=2)) == published
    assert rates(network(3, 1, 2, width=2, dropout=0.2)) == given


def test_dropout_rates_in_2d():
    assert rates(UNet2D(2, 1, 2, width=2)) == [("Dropout", p) for p in (0.05, 0.1, 0.2, 0.3, 0.5)]
    assert rates(UNet2D(2, 1, 2, width=2, dropout=0.2)) == [("Dropout", 0.2)] * 5
    assert rates(VNet(2, 1, 2, width=2)) == [("Dropout2d", 0.5)] * 2


def test_dropout_rates_of_the_3d_pyramid():
    network = UNet3D(3, 1, 2, width=2, pyramid=True)
    assert [one for one in rates(network) if one[1] > 0] == [("Dropout3d", p) for p in (0.5, 0.3, 0.2, 0.1)]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", [VNet, ResNet34VNet])
def test_taps(kind, dims):
    shape = (32, 16, 48)[:dims]
    network = kind(dims, 1, 2, width=4, decoders=[0, 1]).eval()
    with torch.no_grad():
        taps = network.forward_all(torch.randn(1, 1, *shape)).taps
    levels = {"encoder": (32, 8), "bottleneck": (64, 16), "half": (8, 2), "before_dropout": (4, 1), "last": (4, 1)}
    levels |= {f"{name}.1": levels[name] for name in ("half", "before_dropout", "last")}
    assert {name: tap.shape[1:] for name, tap in taps.items()} == {
        name: (channels, *(side // factor for side in shape)) for name, (channels, factor) in levels.items()
    }
    assert torch.equal(taps["last"], taps["before_dropout"])


def test_last_tap_loses_whole_channels_in_training():
    torch.manual_seed(0)
    taps = VNet(2, 1, 2, width=16).forward_all(torch.randn(1, 1, 32, 32)).taps
    raw, dropped = taps["before_dropout"], taps["last"]
    kept = dropped.flatten(2).abs().sum(-1) > 0
    assert 0 < kept.sum() < 16
    torch.testing.assert_close(dropped, raw * kept[..., None, None] * 2)


def test_heads_see_the_first_decoders_last_features():
    network = VNet(2, 1, 2, width=4, decoders=[0, 1], heads={"sdf": 1}).eval()
    output = network.forward_all(torch.randn(1, 1, 32, 32))
    weight, bias = network.heads["sdf"].weight, network.heads["sdf"].bias
    torch.testing.assert_close(output.heads["sdf"], F.conv2d(output.taps["last"], weight, bias))


@pytest.mark.parametrize("kind", [VNet, UNet2D, ResNet34VNet])
def test_decoders_differ_and_take_perturbed_features(kind):
    torch.manual_seed(0)
    network = kind(2, 1, 2, width=4, decoders=[0, 1, 2, 3]).eval()
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        features, everything = network.encode(image), network.forward_all(image)
        again = [network.decode(features, k).logits[0] for k in range(4)]
        disturbed = network.decode([torch.zeros_like(one) for one in features]).logits[0]
    assert all(torch.equal(a, b) for a, b in zip(again, everything.logits, strict=True))
    assert not torch.allclose(again[0], again[1])
    assert not torch.allclose(again[0], disturbed)


def test_decoders_of_the_3d_u_net_differ():
    torch.manual_seed(0)
    network = UNet3D(3, 1, 2, width=2, decoders=[0, 1, 2]).eval()
    with torch.no_grad():
        logits = network.forward_all(torch.randn(1, 1, 32, 16, 16)).logits
    assert all(one.shape == (1, 2, 32, 16, 16) for one in logits)
    assert not any(torch.allclose(logits[a], logits[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_the_decoder_adds_the_encoders_maps():
    # With the up-step silenced, the decoder's last block sees nothing but the first encoder block.
    network = VNet(2, 1, 2, width=4, norm="none", dropout=0.0).eval()
    for up in network.decoders[0].ups:
        for parameter in up.parameters():
            nn.init.zeros_(parameter)
    image = torch.randn(1, 1, 32, 32)
    first = network.encode(image)[0]
    expected = network.decoders[0].output(network.decoders[0].blocks[-1](first))
    torch.testing.assert_close(network(image), expected)


@pytest.mark.parametrize(("kind", "dims"), [(UNet3D, 3), (UNet2D, 2)])
def test_pyramid_gives_four_full_size_logits(kind, dims):
    network = kind(dims, 1, 3, width=4, pyramid=True).eval()
    image = torch.randn(2, 1, *(32, 48, 16)[:dims])
    with torch.no_grad():
        logits = network.forward_all(image).logits
        assert torch.equal(network(image), logits[0])
    assert [one.shape for one in logits] == [(2, 3, *image.shape[2:])] * 4


def test_2d_pyramid_repeats_the_coarse_logits():
    logits = UNet2D(2, 1, 2, width=4, pyramid=True).eval().forward_all(torch.randn(1, 1, 32, 32)).logits
    for level, one in enumerate(logits):
        coarse = one[..., :: 2**level, :: 2**level]
        assert torch.equal(one, coarse.repeat_interleave(2**level, -1).repeat_interleave(2**level, -2))


def test_2d_pyramid_perturbs_the_lower_heads_in_training_only():
    torch.manual_seed(0)
    network = UNet2D(2, 1, 2, width=4, norm="none", dropout=0.0, pyramid=True)
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        trained = [network.forward_all(image).logits for _ in range(2)]
        clean = network.eval().forward_all(image).logits
    assert torch.equal(trained[0][0], clean[0])
    for level in (1, 2, 3):
        assert not torch.equal(trained[0][level], clean[level])
        assert not torch.equal(trained[0][level], trained[1][level])


def test_residual_block_adds_its_input():
    # A stage's second block has no projection: with its last norm's scale at 0 only the input and ReLU are left.
    network = ResNet34VNet(2, 1, 2, width=4).eval()
    block = network.encoder.stages[0][1]
    nn.init.zeros_(block.second[1].weight)
    x = torch.randn(1, 8, 16, 16)
    torch.testing.assert_close(block(x), x.relu())


def test_norms_without_affine_part_in_the_3d_unet():
    norms = [module for module in UNet3D(3, 1, 2, width=2).modules() if isinstance(module, nn.InstanceNorm3d)]
    assert len(norms) == 18
    assert not any(norm.affine for norm in norms)


@pytest.mark.parametrize("kind", [ResNet34VNet, UNet3D])
def test_starts_from_kaiming_weights(kind):
    torch.manual_seed(0)
    network = kind(3, 1, 2, width=8)
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv3d) and m.weight.numel() > 20_000]
    for weight in weights:
        assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.05)
