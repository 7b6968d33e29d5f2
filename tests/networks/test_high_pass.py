"""The high-pass filter: counts of removed frequencies, waves that pass, and what any projection must do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fewmask.networks.high_pass import high_pass, high_pass_mask

GRIDS = [(8, 8, 8), (7, 6, 5), (5, 5, 5), (9, 6), (7, 8)]


def definition(features, cutoff, mask):
    """Transform, shift, mask, shift back and transform back, as it is written; complex."""
    axes = tuple(range(2, features.ndim))
    spectrum = torch.fft.fftshift(torch.fft.fftn(features, dim=axes), dim=axes)
    kept = torch.from_numpy(high_pass_mask(tuple(features.shape[2:]), cutoff, mask).copy())
    return torch.fft.ifftn(torch.fft.ifftshift(spectrum * kept, dim=axes), dim=axes)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wave(sides, axis, frequency):
    """A cosine along one axis of a grid."""
    places = torch.arange(sides[axis], dtype=torch.float64)
    line = torch.cos(2 * torch.pi * frequency * places / sides[axis])
    return line.reshape([-1 if a == axis else 1 for a in range(len(sides))]).expand(1, 1, *sides).clone()


@pytest.mark.parametrize(
    ("sides", "removed"),
    [
        ((14, 14, 10), (245, 405, 567, 847)),
        ((12, 12, 12), (125, 343, 729, 729)),
        ((7, 7, 5), (27, 75, 75, 75)),
        ((8, 8, 8), (27, 125, 125, 343)),
        ((8, 8), (9, 25, 25, 49)),
    ],
)
def test_removed_entries_of_the_box(sides, removed):
    assert tuple(int((high_pass_mask(sides, r) == 0).sum()) for r in (0.5, 0.6, 0.7, 0.8)) == removed


def test_removed_entries_of_the_other_masks():
    # Radius 0.5 on 8 x 8: (k, l) with (k^2 + l^2) / 32 < 1 / 4, that is k^2 + l^2 < 8.
    assert int((high_pass_mask((8, 8), 0.5, "radial") == 0).sum()) == 21
    # A share of 0.125 is a box of half the sides; the frequency right on its border passes.
    assert int((high_pass_mask((8, 8, 8), 0.125, "volume") == 0).sum()) == 27
    assert int((high_pass_mask((8, 8), 0.25, "volume") == 0).sum()) == 9


def test_no_cutoff_gives_the_features_back():
    features = noise(2, 3, 7, 6, 5).float()
    assert (high_pass(features, 0.0) - features).abs().max() < 1e-5


@pytest.mark.parametrize("mask", ["box", "radial", "volume"])
@pytest.mark.parametrize("cutoff", [1e-6, 0.5, 1.0])
def test_any_cutoff_removes_the_mean(mask, cutoff):
    assert high_pass(torch.full((1, 1, 8, 6, 5), 3.0), cutoff, mask).abs().max() < 1e-5
    assert high_pass(noise(1, 2, 7, 6, 5), cutoff, mask).mean((2, 3, 4)).abs().max() < 1e-12


@pytest.mark.parametrize("mask", ["box", "radial", "volume"])
def test_the_finest_wave_passes_every_cutoff(mask):
    signs = sum(torch.meshgrid(*[torch.arange(8)] * 3, indexing="ij")) % 2
    finest = (1.0 - 2.0 * signs)[None, None]
    torch.testing.assert_close(high_pass(finest, 1.0, mask), finest, rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_wave_passes_up_to_its_own_frequency(axis):
    slow = wave((8, 8, 8), axis, 1)
    torch.testing.assert_close(high_pass(slow, 0.25), slow)
    assert high_pass(slow, 0.26).abs().max() < 1e-12


@pytest.mark.parametrize("sides", GRIDS, ids=str)
@pytest.mark.parametrize("mask", ["box", "radial", "volume"])
def test_equals_the_definition_and_is_a_projection(sides, mask):
    first, second = noise(2, 3, *sides), noise(2, 3, *sides, seed=1)
    filtered = high_pass(first, 0.5, mask)
    literal = definition(first, 0.5, mask)
    assert literal.imag.abs().max() < 1e-5
    torch.testing.assert_close(filtered, literal.real)
    torch.testing.assert_close(high_pass(filtered, 0.5, mask), filtered)
    torch.testing.assert_close(high_pass(2 * first - second, 0.5, mask), 2 * filtered - high_pass(second, 0.5, mask))
    assert (filtered.square().sum((2, 3, 4)[: len(sides)]) <= first.square().sum((2, 3, 4)[: len(sides)])).all()


def test_a_soft_edge_falls_from_the_threshold_to_nothing():
    # Along the axis of 8 the frequencies are 0, 0.25, 0.5, 0.75 and 1.
    line = high_pass_mask((8,), 0.75, soft_width=0.5)[4::-1]
    np.testing.assert_allclose(line, [0, 0, 0.5, 1, 1], atol=1e-8)
    assert (high_pass_mask((7, 6), 0.0, soft_width=0.3) == 1).all()
    half = high_pass(wave((8, 8), 0, 2), 0.75, soft_width=0.5)
    torch.testing.assert_close(half, 0.5 * wave((8, 8), 0, 2), rtol=0, atol=1e-7)


def test_computed_in_float32_under_autocast():
    features = noise(1, 2, 7, 6, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        filtered = high_pass(features, 0.5)
    assert filtered.dtype == torch.float32
    torch.testing.assert_close(filtered, high_pass(features.float(), 0.5), rtol=0, atol=0)


def test_gradient_is_the_filter_itself():
    # The filter is symmetric: the gradient of <w, H f> is H w.
    features, weight = noise(1, 1, 7, 6).requires_grad_(), noise(1, 1, 7, 6, seed=1)
    (high_pass(features, 0.5) * weight).sum().backward()
    torch.testing.assert_close(features.grad, high_pass(weight, 0.5))
