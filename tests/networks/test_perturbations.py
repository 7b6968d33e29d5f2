from __future__ import annotations

import pytest
import torch

from fewmask.networks.perturbations import attention_drop, feature_noise, keep_where, outside_cutouts


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (3, 4, 4, 8, 8)])
def test_noise_is_relative_bounded_and_shared_by_the_batch(shape):
    torch.manual_seed(0)
    features = torch.rand(shape) + 0.5
    change = feature_noise(features, 0.3) / features - 1
    assert change.abs().max() <= 0.3 + 1e-6
    assert change.min() < -0.25
    assert change.max() > 0.25
    torch.testing.assert_close(change[0], change[1], atol=1e-6, rtol=0)
    assert change[0].std(0).max() > 0.1


@pytest.mark.parametrize("dims", [2, 3])
def test_attention_drop_by_hand(dims):
    # Channel means 1, 2, ..., 10 in one sample and ten times that in the other; the threshold is 0.75 of each maximum.
    row = torch.arange(1.0, 11.0).view(*[1] * (dims - 1), 10)
    features = torch.stack([torch.stack([0.5 * row, 1.5 * row]), torch.stack([5 * row, 15 * row])])
    dropped = attention_drop(features, 0.75, 0.75 + 1e-6)
    assert torch.equal(dropped[..., :7], features[..., :7])
    assert dropped[..., 7:].abs().sum() == 0


def test_attention_drop_draws_a_share_between_its_bounds():
    torch.manual_seed(0)
    features = torch.linspace(0, 1, 1001).view(1, 1, 1, 1001)
    shares = [(attention_drop(features) > 0).sum().item() / 1000 for _ in range(200)]
    assert min(shares) == pytest.approx(0.7, abs=0.01)
    assert max(shares) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("perturb", [feature_noise, attention_drop])
def test_gradient_passes(perturb):
    features = torch.rand(2, 3, 4, 4, requires_grad=True)
    perturb(features).sum().backward()
    assert features.grad.abs().sum() > 0


def test_features_stay_where_a_mask_says_at_every_resolution():
    keep = torch.tensor([[[True, True, False, False], [True, True, True, False]]])
    features = torch.arange(1.0, 5.0).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert keep_where(features, keep)[0, 1].tolist() == [[1, 0], [3, 4]]


@pytest.mark.parametrize("dims", [2, 3])
def test_one_box_is_cut_out_of_each_object(dims):
    foreground = torch.zeros(2, *[32] * dims, dtype=torch.bool)
    near, far = (slice(0, 10),) * dims, (slice(15, 25),) * dims
    foreground[0][near] = foreground[0][far] = True
    starts = set()
    for seed in range(20):
        torch.manual_seed(seed)
        keep = outside_cutouts(foreground, 0.4)
        assert keep[1].all() and keep[0][~foreground[0]].all()
        for box in (near, far):
            cut = ~keep[0][box]
            assert cut.sum() == 4**dims
            places = cut.nonzero()
            assert (places.amax(0) - places.amin(0) == 3).all()
            starts.add(places[0, 0].item())
    assert {0, 6} <= starts <= set(range(7))


def test_a_small_object_loses_at_least_a_voxel():
    foreground = torch.zeros(1, 5, 5, dtype=torch.bool)
    foreground[0, 2, 2] = True
    assert (~outside_cutouts(foreground, 0.4)).sum() == 1
