from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from fewmask.errors import ConfigError
from fewmask.inference import engines
from fewmask.inference.engines import ENGINES, FusedConvolution, accelerate
from fewmask.methods.base import SoftmaxPredictor
from fewmask.networks import build_network
from helpers import blobs
from toys import PATCH, small_network, small_task

NETWORKS = [("vnet", 3), ("vnet", 2), ("resnet34-vnet", 3), ("unet-2d", 2)]


def predictor_of(name: str | None, dims: int, norm: str = "batch", passes: int = 12) -> SoftmaxPredictor:
    """A small network whose batch norms have seen some patches."""
    torch.manual_seed(0)
    network = build_network(small_task(dims), small_network(name=name, norm=norm))
    for _ in range(passes):
        with torch.no_grad():
            network(torch.randn(2, 1, *PATCH[dims]) * 2 + 1)
    return SoftmaxPredictor(network).eval()


def patches(dims: int) -> Tensor:
    return torch.randn(2, 1, *PATCH[dims], generator=torch.Generator().manual_seed(1))


def kinds(module: nn.Module) -> set[str]:
    return {type(part).__name__ for part in module.modules()}


@pytest.mark.parametrize(("name", "dims"), NETWORKS)
@pytest.mark.parametrize("fused_operations", [True, False])
def test_fused_is_the_same_network(name, dims, fused_operations, monkeypatch) -> None:
    if not fused_operations:  # as in a build of torch without oneDNN
        monkeypatch.setattr(engines, "_has_fused_convolutions", lambda precision: False)
    slow = predictor_of(name, dims)
    before = copy.deepcopy(slow.state_dict())
    fast = accelerate(slow, "fused")
    found = kinds(fast)
    assert not any("BatchNorm" in kind for kind in found)
    assert ("FusedConvolution" in found) == fused_operations != (f"Conv{dims}d" in found)
    with torch.no_grad():
        expected = slow(patches(dims))
        torch.testing.assert_close(fast(patches(dims)), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(fast(patches(dims)[:1]), expected[:1], atol=1e-5, rtol=0)
    assert before.keys() == slow.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in slow.state_dict().items())
    assert not any("FusedConvolution" in kind for kind in kinds(slow))


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_norms_that_look_at_the_image_stay(norm) -> None:
    slow = predictor_of("vnet", 3, norm, passes=0)
    assert accelerate(slow, "fused") is slow
    assert accelerate(slow, "eager") is slow


class Odd(nn.Module):
    """A convolution in two places, and what must not be folded or fused: one with a hook, one reparametrised, odd padding."""

    def __init__(self) -> None:
        super().__init__()
        twice, hooked = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        hooked.register_forward_hook(lambda module, inputs, output: output + 1)
        scaled = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1))
        self.parts = nn.Sequential(
            nn.Sequential(twice, nn.BatchNorm2d(3), nn.ReLU()),
            twice,
            nn.Sequential(hooked, nn.BatchNorm2d(3)),
            nn.Sequential(scaled, nn.BatchNorm2d(3), nn.ReLU()),
            nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
            nn.Sequential(nn.Conv2d(3, 6, 3, padding=2, groups=3, dilation=2), nn.BatchNorm2d(6), nn.LeakyReLU()),
            nn.Sequential(nn.ConvTranspose2d(6, 2, 3, 2, padding=1, output_padding=1), nn.BatchNorm2d(2), nn.ReLU()),
            nn.Sequential(nn.Conv2d(2, 2, 3, padding="same"), nn.Identity(), nn.ReLU()),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.parts(image)


def test_odd_layers_keep_their_meaning() -> None:
    torch.manual_seed(0)
    odd, image = Odd(), torch.randn(2, 3, 16, 16)
    for _ in range(3):
        odd(torch.randn(4, 3, 16, 16) * 3)
    odd.eval()
    fast = accelerate(odd, "fused")
    with torch.no_grad():
        torch.testing.assert_close(fast(image), odd(image), atol=1e-5, rtol=1e-5)
    assert (
        sum(isinstance(part, FusedConvolution) for part in fast.modules()) == 4
    )  # the two uses of `twice`, the grouped and the transposed one


def test_unknown_engine() -> None:
    with pytest.raises(ConfigError, match="did you mean 'fused'"):
        accelerate(nn.Identity(), "fuse")
    with pytest.raises(ConfigError, match="valid"):
        accelerate(nn.Identity(), "openvino")


@pytest.fixture(scope="module")
def trained() -> tuple[SoftmaxPredictor, Tensor, Tensor]:
    """A network that segments blobs, and blobs that it has not seen."""
    task = small_task(2)
    torch.manual_seed(0)
    network = build_network(task, small_network(norm="batch", width=8))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    scans = [blobs((64, 64), seed=seed) for seed in range(40)]
    images = torch.stack([torch.from_numpy((image - image.mean()) / image.std()) for image, _ in scans])
    labels = torch.stack([torch.from_numpy(label).long() for _, label in scans])
    for step in range(24):
        batch = slice(4 * (step % 8), 4 * (step % 8) + 4)
        loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return SoftmaxPredictor(network).eval(), images[32:], labels[32:]


@pytest.mark.parametrize(("engine", "fused_operations"), [*((engine, True) for engine in ENGINES), ("bf16", False)])
def test_a_trained_network_segments_as_well(trained, engine, fused_operations, monkeypatch) -> None:
    if not fused_operations:
        monkeypatch.setattr(engines, "_has_fused_convolutions", lambda precision: False)
    predictor, images, labels = trained
    fast = accelerate(predictor, engine)
    with torch.no_grad():
        expected, got = predictor(images), fast(images)
    assert got.dtype == torch.float32

    def dice(mask: Tensor) -> float:
        return float(2 * (mask & (labels == 1)).sum() / (mask.sum() + (labels == 1).sum()))

    assert dice(expected.argmax(1) == 1) > 0.9  # or the comparison says nothing
    assert abs(dice(got.argmax(1) == 1) - dice(expected.argmax(1) == 1)) < 2e-3
    assert float((got - expected).abs().max()) < {"eager": 1e-9, "fused": 1e-5, "bf16": 0.2}[engine]
    if engine == "bf16":
        assert not torch.equal(got, expected)
        torch.testing.assert_close(got.sum(1), torch.ones_like(got[:, 0]), atol=1e-5, rtol=0)


def test_bf16_of_a_network_with_instance_norm() -> None:
    slow, image = predictor_of("unet-3d", 3, "instance", passes=0), torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        got, expected = accelerate(slow, "bf16")(image), slow(image)
    assert 0 < float((got - expected).abs().max()) < 0.1
