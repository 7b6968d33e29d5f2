from __future__ import annotations

import pytest
import torch

from fewmask.components.mutual import mutual_loss, sharpen


@pytest.mark.parametrize(
    ("p", "temperature", "q"),
    # 0.6^10 = 0.0060466176, 0.4^10 = 0.0001048576; 0.3^2 = 0.09, 0.7^2 = 0.49.
    [(0.6, 0.1, 0.982954), (0.5, 0.1, 0.5), (0.3, 0.5, 0.155172), (0.3, 1.0, 0.3), (0.0, 0.1, 0.0), (1.0, 0.1, 1.0)],
)
def test_sharpening_by_hand(p, temperature, q):
    assert sharpen(torch.tensor([p]), temperature).item() == pytest.approx(q, abs=2e-6)


def test_two_sharpened_classes_still_sum_to_one_and_three_need_not():
    two = torch.tensor([0.35, 0.65])
    assert sharpen(two, 0.1).sum().item() == pytest.approx(1, abs=1e-6)
    assert sharpen(torch.tensor([0.45, 0.45, 0.1]), 0.1).sum() < 0.3


def test_sharpening_certain_maps_has_a_finite_gradient():
    p = torch.tensor([0.0, 1e-30, 0.5, 1.0], requires_grad=True)
    sharpen(p, 0.1).sum().backward()
    assert p.grad.isfinite().all()
    assert p.grad[2].item() == pytest.approx(10, rel=1e-5), "1 / T at one half"


def test_ordered_pairs():
    """Three scalars with targets of their own: (a - q_b)^2 + (a - q_c)^2 + ..."""
    predictions = [torch.tensor([v]) for v in (0.1, 0.4, 0.8)]
    targets = [torch.tensor([v]) for v in (0.0, 0.3, 1.0)]
    wanted = (0.1 - 0.3) ** 2 + (0.1 - 1) ** 2 + 0.4**2 + (0.4 - 1) ** 2 + 0.8**2 + (0.8 - 0.3) ** 2
    assert mutual_loss(predictions, targets).item() == pytest.approx(wanted, rel=1e-6)
