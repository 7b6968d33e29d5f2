from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fewmask.errors import ConfigError, DataError, RunError
from fewmask.inference import rolling_sum
from fewmask.inference import sliding_window as module
from fewmask.inference.sliding_window import axis_weights, probability_slabs, sliding_window, window_starts
from fewmask.methods.base import SoftmaxPredictor
from fewmask.networks import build_network
from toys import small_network, small_task


class Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Positional(nn.Module):
    """Probabilities that depend on the voxel's place in the window, so that every averaging mistake shows."""

    def __init__(self, patch: tuple[int, ...]) -> None:
        super().__init__()
        self.ramp = torch.rand((2, *patch), generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x[:, :1] * self.ramp, dim=1)


def reference(
    image: np.ndarray, predictor: nn.Module, patch: tuple[int, ...], stride: tuple[int, ...], gaussian: bool
) -> np.ndarray:
    """The same by the slow way: voxel by voxel sums and weights in float64."""
    lack = [max(0, p - s) for s, p in zip(image.shape[1:], patch, strict=True)]
    padded = np.pad(image, [(0, 0), *((n // 2, n - n // 2) for n in lack)])
    sides = padded.shape[1:]
    total, weights = np.zeros((2, *sides)), np.zeros(sides)
    counts = [math.ceil((s - p) / t) + 1 for s, p, t in zip(sides, patch, stride, strict=True)]
    for place in itertools.product(*map(range, counts)):
        corner = [min(i * t, s - p) for i, t, s, p in zip(place, stride, sides, patch, strict=True)]
        window = padded[(slice(None), *(slice(c, c + p) for c, p in zip(corner, patch, strict=True)))]
        output = predictor(torch.from_numpy(window.copy())[None])[0].numpy().astype(np.float64)
        for voxel in itertools.product(*map(range, patch)):
            weight = 1.0
            if gaussian:
                weight = math.exp(
                    -sum(((v - (p - 1) / 2) / (p / 8)) ** 2 for v, p in zip(voxel, patch, strict=True)) / 2
                )
            at = tuple(c + v for c, v in zip(corner, voxel, strict=True))
            total[(slice(None), *at)] += weight * output[(slice(None), *voxel)]
            weights[at] += weight
    inside = tuple(slice(n // 2, n // 2 + s) for n, s in zip(lack, image.shape[1:], strict=True))
    return (total / weights)[(slice(None), *inside)]


@given(patch=st.integers(1, 40), extra=st.integers(0, 200), data=st.data())
def test_windows_cover_the_side_and_number_as_published(patch: int, extra: int, data: st.DataObject) -> None:
    side, stride = patch + extra, data.draw(st.integers(1, patch))
    starts = window_starts(side, patch, stride)
    assert len(starts) == math.ceil((side - patch) / stride) + 1
    assert starts[0] == 0
    assert starts[-1] == side - patch
    assert starts == sorted(set(starts))
    assert all(start == index * stride for index, start in enumerate(starts[:-1]))
    assert {voxel for start in starts for voxel in range(start, start + patch)} == set(range(side))


def test_published_windows() -> None:
    """Of the left atrium: 2 x 2 x 3 windows; and 16 voxels mean 16, where a share of 1 - 16 / 96 would be cut to 15."""
    assert [window_starts(*axis) for axis in ((130, 112, 18), (120, 112, 18), (88, 80, 4))] == [
        [0, 18],
        [0, 8],
        [0, 4, 8],
    ]
    assert window_starts(128, 96, 16) == [0, 16, 32]


@pytest.mark.parametrize(("side", "patch", "stride"), [(10, 4, 5), (10, 4, 0), (3, 4, 2), (3, 0, 1)])
def test_windows_that_leave_gaps_or_do_not_fit(side: int, patch: int, stride: int) -> None:
    with pytest.raises(ConfigError):
        window_starts(side, patch, stride)


CASES = [
    ((7, 9), (4, 4), (3, 2)),
    ((3, 9), (4, 6), (4, 1)),
    ((1, 1), (4, 5), (2, 2)),
    ((5, 6, 7), (3, 4, 4), (2, 3, 4)),
    ((2, 6, 1), (3, 4, 4), (1, 2, 3)),
]


@pytest.mark.parametrize(("shape", "patch", "stride"), CASES)
@pytest.mark.parametrize("weighting", ["uniform", "gaussian"])
@pytest.mark.parametrize("window_batch", [1, 4])
def test_equals_the_slow_reference(shape, patch, stride, weighting, window_batch) -> None:
    image = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    predictor = Positional(patch)
    got = sliding_window(
        torch.from_numpy(image), predictor, patch, stride, weighting=weighting, window_batch=window_batch
    )
    assert got.shape == (2, *shape)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(
        got.numpy(), reference(image, predictor, patch, stride, weighting == "gaussian"), atol=2e-6
    )
    np.testing.assert_allclose(got.sum(0).numpy(), 1, atol=2e-6)


@settings(max_examples=30, deadline=None)
@given(
    data=st.data(),
    dims=st.sampled_from([2, 3]),
    weighting=st.sampled_from(["uniform", "gaussian"]),
    flips=st.booleans(),
)
def test_a_predictor_that_does_nothing_gives_the_image(data, dims, weighting, flips) -> None:
    sizes = st.tuples(*[st.integers(1, 12)] * dims)
    shape, patch = data.draw(sizes), data.draw(sizes)
    stride = tuple(data.draw(st.integers(1, side)) for side in patch)
    image = torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))
    got = sliding_window(image, Identity(), patch, stride, weighting=weighting, window_batch=8, flips=flips)
    torch.testing.assert_close(got, image, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("patch", [1, 2, 7, 16, 256])
def test_gaussian_weights_are_positive_and_symmetric(patch: int) -> None:
    weights = axis_weights(patch, "gaussian")
    assert weights.min() > math.exp(-8) * (1 - 1e-6)
    assert weights.max() <= 1
    torch.testing.assert_close(weights, weights.flip(0))


def test_gaussian_weights_do_not_vanish_in_the_corners_of_a_large_3d_patch() -> None:
    image = torch.rand((1, 40, 40, 40), generator=torch.Generator().manual_seed(0))
    got = sliding_window(image, Identity(), (40, 40, 40), (40, 40, 40), weighting="gaussian")
    torch.testing.assert_close(got, image, atol=1e-5, rtol=1e-4)


def test_flips_are_the_mean_over_all_mirrors_mirrored_back() -> None:
    patch = (3, 4, 5)
    image = torch.rand((1, *patch), generator=torch.Generator().manual_seed(3))
    predictor = Positional(patch)
    expected = torch.zeros((2, *patch))
    for x, y, z in itertools.product([False, True], repeat=3):
        axes = [axis for axis, mirrored in zip((1, 2, 3), (x, y, z), strict=True) if mirrored]
        expected += predictor(image.flip(axes)[None])[0].flip(axes) / 8
    torch.testing.assert_close(sliding_window(image, predictor, patch, patch, flips=True), expected)
    assert not torch.allclose(sliding_window(image, predictor, patch, patch), expected, atol=1e-3)


def test_padding_is_centred_with_the_odd_voxel_at_the_end() -> None:
    seen: list[Tensor] = []

    class Spy(Identity):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x

    sliding_window(torch.ones(1, 1, 2), Spy(), (4, 2), (4, 2))
    assert seen[0][0, 0].tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]


def test_no_gradients_and_every_mode_restored() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.frozen = nn.BatchNorm2d(1), nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            assert not self.norm.training
            return self.frozen(self.norm(x))

    net = Net().train()
    net.frozen.eval()
    before = net.norm.running_mean.clone()
    assert not sliding_window(torch.rand(1, 6, 6), net, (4, 4), (2, 2)).requires_grad
    assert (net.training, net.norm.training, net.frozen.training) == (True, True, False)
    assert torch.equal(net.norm.running_mean, before)


def test_the_mode_is_restored_after_an_error() -> None:
    class Shrinks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., 1:]

    predictor = Shrinks().train()
    with pytest.raises(RunError, match="keep the patch size"):
        sliding_window(torch.rand(1, 6, 6), predictor, (4, 4), (2, 2))
    assert predictor.training


@pytest.mark.parametrize(
    ("shape", "change", "error"),
    [
        ((1, 6, 6), {"patch_size": (4, 4, 4)}, ConfigError),
        ((1, 6, 6), {"stride": (2,)}, ConfigError),
        ((1, 6, 6), {"stride": (2, 5)}, ConfigError),
        ((1, 6, 6), {"stride": (2, 0)}, ConfigError),
        ((1, 6, 6), {"weighting": "gausian"}, ConfigError),
        ((1, 6, 6), {"window_batch": 0}, ConfigError),
        ((1, 0, 6), {}, DataError),
        ((6, 6), {}, DataError),
    ],
)
def test_errors(shape, change, error) -> None:
    with pytest.raises(error):
        sliding_window(torch.rand(shape), Identity(), **{"patch_size": (4, 4), "stride": (2, 2), **change})


def fields_loop(image: np.ndarray, network: nn.Module, patch: tuple[int, ...], stride: tuple[int, ...]) -> np.ndarray:
    """The inference of the field's released codes: one window at a time, sums and counts in numpy float32."""
    sides = image.shape[1:]
    counts = [math.ceil((s - p) / t) + 1 for s, p, t in zip(sides, patch, stride, strict=True)]
    total, seen = np.zeros((2, *sides), np.float32), np.zeros(sides, np.float32)
    for place in itertools.product(*map(range, counts)):
        corner = [min(i * t, s - p) for i, t, s, p in zip(place, stride, sides, patch, strict=True)]
        window = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
        with torch.no_grad():
            output = network(torch.from_numpy(image[(slice(None), *window)][None].copy()))
        total[(slice(None), *window)] += output[0].numpy()
        seen[window] += 1
    return total / seen


@pytest.mark.parametrize(
    ("sides", "patch", "stride"), [((37, 33, 21), (16, 16, 16), (7, 9, 5)), ((81, 70), (32, 32), (13, 32))]
)
def test_equals_the_fields_loop_bit_for_bit(sides, patch, stride) -> None:
    torch.manual_seed(0)
    network = SoftmaxPredictor(build_network(small_task(len(sides)), small_network(norm="batch"))).eval()
    image = np.random.default_rng(0).normal(size=(1, *sides)).astype(np.float32)
    got = sliding_window(torch.from_numpy(image), network, patch, stride)
    np.testing.assert_array_equal(got.numpy(), fields_loop(image, network, patch, stride))


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    dims=st.sampled_from([2, 3]),
    weighting=st.sampled_from(["uniform", "gaussian"]),
    flips=st.booleans(),
    batch=st.integers(1, 5),
    values=st.sampled_from([1, 80, 2**20]),
)
def test_slabs_are_the_whole_in_order_and_bit_for_bit(data, dims, weighting, flips, batch, values) -> None:
    """Against sums over the whole volume, in the order of the windows."""
    shape = data.draw(st.tuples(*[st.integers(1, 14)] * dims))
    patch = data.draw(st.tuples(*[st.integers(1, 9)] * dims))
    stride = tuple(data.draw(st.integers(1, side)) for side in patch)
    image = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    network = Positional(patch)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rolling_sum, "_VALUES", values)
        slabs = probability_slabs(image, network, patch, stride, weighting=weighting, window_batch=batch, flips=flips)
        pieces = [(first, slab.clone()) for first, slab in slabs]
    planes = 0
    for first, slab in pieces:
        assert first == planes
        planes += slab.shape[1]
    whole = whole_volume(image, network, patch, stride, weighting=weighting, flips=flips)
    assert torch.equal(torch.cat([slab for _, slab in pieces], dim=1), whole)


def whole_volume(image: Tensor, network: nn.Module, patch, stride, *, weighting: str, flips: bool) -> Tensor:
    lack = [max(0, p - s) for s, p in zip(image.shape[1:], patch, strict=True)]
    widths = [width for n in reversed(lack) for width in (n // 2, n - n // 2)]
    padded = nn.functional.pad(image, widths)
    starts = [window_starts(*each) for each in zip(padded.shape[1:], patch, stride, strict=True)]
    profiles = [axis_weights(side, weighting) for side in patch]
    letters = "xyz"[: len(patch)]
    product = f"{','.join(letters)}->{letters}"
    total = torch.zeros((2, *padded.shape[1:]))
    for corner in itertools.product(*starts):
        window = (slice(None), *(slice(c, c + p) for c, p in zip(corner, patch, strict=True)))
        axes = [
            chosen
            for count in range(len(patch) + 1 if flips else 1)
            for chosen in itertools.combinations(range(1, len(patch) + 1), count)
        ]
        outputs = [network(padded[window].flip(chosen)[None])[0].flip(chosen) for chosen in axes]
        mean = sum(outputs[1:], outputs[0]) / len(axes)
        total[window] += mean * (torch.einsum(product, *profiles) if weighting == "gaussian" else 1)
    sums = [torch.zeros(side) for side in padded.shape[1:]]
    for along, places, profile in zip(sums, starts, profiles, strict=True):
        for place in places:
            along[place : place + len(profile)] += profile
    in_plane = sums[1] if len(sums) == 2 else sums[1][:, None] * sums[2]
    weights = sums[0].view(-1, *[1] * in_plane.ndim) * in_plane
    inside = tuple(slice(n // 2, n // 2 + s) for n, s in zip(lack, image.shape[1:], strict=True))
    return (total / weights)[(slice(None), *inside)]


def test_sums_are_kept_for_as_many_planes_as_the_patch_has() -> None:
    kept = []

    class Counted(rolling_sum.RollingSum):
        def add(self, corner, probabilities) -> None:
            super().add(corner, probabilities)
            kept.append(self.sums.shape)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "RollingSum", Counted)
        seen = [len(slab) for _, slab in probability_slabs(torch.rand(2, 50, 9, 8), Identity(), (4, 4, 4), (3, 2, 4))]
    assert seen and set(kept) == {(2, 4, 9, 8)}


def test_who_stops_early_leaves_the_predictor_as_it_was() -> None:
    network = nn.Dropout().train()
    slabs = probability_slabs(torch.rand(1, 9, 4), network, (4, 4), (4, 4))
    next(slabs)
    slabs.close()
    assert network.training
