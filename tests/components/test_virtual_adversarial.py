from __future__ import annotations

import pytest
import torch
from torch import nn

from fewmask.components.virtual_adversarial import adversarial_direction, adversarial_features, overlap_loss


def test_the_overlap_of_all_channels_together_by_hand():
    """p = (.6, .4) and (.2, .8), q = (1, 0) and (0, 1): sum p q = 1.4, sums 2 and 2; squares per class: .4, .68 and 1."""
    p = torch.tensor([[[0.6, 0.2], [0.4, 0.8]]])
    q = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert overlap_loss(p, q, squared=False).item() == pytest.approx(1 - 2.8 / 4, abs=1e-5)
    first, second = 1 - 1.2 / (0.4 + 1), 1 - 1.6 / (0.8 + 1)
    assert overlap_loss(p, q, squared=True).item() == pytest.approx((first + second) / 2, abs=1e-4)


class Linear(nn.Module):
    """Logits (0, w x) of one-channel images."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, image):
        return torch.cat([torch.zeros_like(image), self.w * image], 1)


def test_the_direction_of_a_linear_network_in_float64():
    """g = dD/dd at x + probe d; the random d is the same, so the gradient can be had by differences."""
    network, x = Linear(1.5), torch.tensor([[[0.3, -0.2, 0.9]], [[1.0, 0.4, -0.7]]])
    target = network(x).softmax(1)
    torch.manual_seed(4)
    found = adversarial_direction(network, x, target, probe=2.0)
    torch.manual_seed(4)
    start = torch.rand(2, 1, 3) - 0.5
    start = (start / start.flatten(1).norm(dim=1).reshape(2, 1, 1)).double()

    def apart(change):
        p = torch.sigmoid(1.5 * (x.double() + 2.0 * change))
        q = torch.sigmoid(1.5 * x.double())
        return 1 - 2 * (p * q + (1 - p) * (1 - q)).sum() / (6 + 6)

    wanted = torch.zeros_like(start)
    for place in [(n, 0, v) for n in range(2) for v in range(3)]:
        step = torch.zeros_like(start)
        step[place] = 1e-5
        wanted[place] = (apart(start + step) - apart(start - step)) / 2e-5
    wanted = wanted / wanted.flatten(1).norm(dim=1).reshape(2, 1, 1)
    torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.flatten(1).norm(dim=1), torch.ones(2))
    assert network.w.grad is None


def test_it_changes_the_prediction_more_than_a_random_step():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
    images = torch.randn(2, 1, 16, 16)
    statistics = network[1].running_mean.clone()
    with torch.no_grad():
        target = network.eval()(images).softmax(1)
    with torch.no_grad():  # as within a validation
        found = adversarial_direction(network.train(), images, target)
    assert torch.equal(network[1].running_mean, statistics)
    network.eval()
    random = torch.randn_like(images)
    random = random / random.flatten(1).norm(dim=1).reshape(2, 1, 1, 1)
    changes = [(network(images + 3 * step).softmax(1) - target).square().mean() for step in (found, random)]
    assert changes[0] > 2 * changes[1]


class Half(Linear):
    """In between float16, as within automatic mixed precision."""

    def forward(self, image):
        return super().forward(image.half()).float()


@pytest.mark.parametrize("squared", [False, True])
def test_it_does_not_vanish_in_float16(squared):
    """A sure prediction of 4096 voxels: dD/dz is about 1e-5 * 1e-4, below the smallest float16."""
    network, x = Half(1.0).half(), 11 + torch.rand(1, 1, 64, 64)
    target = torch.stack([torch.ones(1, 64, 64), torch.zeros(1, 64, 64)], 1)
    found = adversarial_direction(network, x, target, probe=10.0, squared=squared)
    assert found.norm().item() == pytest.approx(1, abs=1e-4)


def test_the_move_of_features_in_float64():
    """A decoder with logits (0, 1.5 a + 0.5 b) of two levels: the gradient of KL by differences, each level and sample of its own length."""
    levels = [torch.tensor([[[0.3, -0.2, 0.9]], [[1.0, 0.4, -0.7]]]), torch.tensor([[[0.1]], [[-0.4]]])]

    def logits(maps):
        return torch.cat([torch.zeros_like(maps[0]), 1.5 * maps[0] + 0.5 * maps[1]], 1)

    torch.manual_seed(4)
    found = adversarial_features(logits, levels, probe=0.5, radius=2.0)
    torch.manual_seed(4)
    starts = [torch.rand_like(level) - 0.5 for level in levels]
    starts = [(d / d.flatten(1).norm(dim=1).view(2, 1, 1)).double() for d in starts]
    clean = [level.double() for level in levels]

    def apart(changes):
        p = logits(clean).softmax(1)
        q = logits([z + 0.5 * d for z, d in zip(clean, changes, strict=True)]).softmax(1)
        return (p * (p / q).log()).sum()

    for k, level in enumerate(clean):
        wanted = torch.zeros_like(level)
        for place in torch.ones_like(level).nonzero().tolist():
            step = [torch.zeros_like(d) for d in starts]
            step[k][tuple(place)] = 1e-5
            more, less = ([d + sign * s for d, s in zip(starts, step, strict=True)] for sign in (1, -1))
            wanted[tuple(place)] = (apart(more) - apart(less)) / 2e-5
        wanted = level + 2.0 * wanted / wanted.flatten(1).norm(dim=1).view(2, 1, 1)
        torch.testing.assert_close(found[k].double(), wanted, atol=1e-3, rtol=1e-3)
