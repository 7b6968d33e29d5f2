from __future__ import annotations

import numpy as np
import pytest
import torch

from fewmask.components.agreement import confident_mask, cosine_loss, disagreement_loss, rectified_loss

FIRST, SECOND = [0.9, 0.7, 0.55, 0.2, 0.1], [0.8, 0.2, 0.3, 0.65, 0.05]


def binary(foreground):
    """Probabilities ``(1, 2, 1, n)``."""
    p = torch.tensor(foreground)
    return torch.stack([1 - p, p])[None, :, None].requires_grad_()


@pytest.mark.parametrize(
    ("operator", "mask", "loss"), [("xor", [0, 1, 0, 1, 0], 0.22625), ("or", [1, 1, 0, 1, 0], 0.1541667)]
)
def test_difference_where_networks_are_sure_apart(operator, mask, loss):
    a, b = binary(FIRST), binary(SECOND)
    found = confident_mask(a, b, 0.6, operator)
    assert found.int().flatten().tolist() == mask
    assert disagreement_loss(a, b, found).item() == pytest.approx(loss, abs=1e-6)
    assert disagreement_loss(b, a, confident_mask(b, a, 0.6, operator)).item() == pytest.approx(loss, abs=1e-6)


def test_a_lower_confidence_takes_a_voxel_more():
    assert confident_mask(binary(FIRST), binary(SECOND), 0.5).flatten().tolist() == [False, True, True, True, False]


def test_against_the_label():
    a, b = binary(FIRST), binary(SECOND)
    mask = confident_mask(a, b, 0.6)
    truth = binary([1.0, 1, 1, 0, 0])
    assert disagreement_loss(a, truth, mask).item() == pytest.approx(0.065, abs=1e-6)
    assert disagreement_loss(b, truth, mask).item() == pytest.approx(0.53125, abs=1e-6)


def test_an_empty_mask_gives_zero_and_a_finite_gradient():
    a, b = binary(FIRST), binary(FIRST)
    for distance in ("mse", "kl"):
        loss = disagreement_loss(a, b, confident_mask(a, b, 0.6), distance)
        loss.backward()
        assert loss.item() == 0
        assert a.grad.isfinite().all()


def test_both_networks_get_the_gradient():
    a, b = binary(FIRST), binary(SECOND)
    disagreement_loss(a, b, confident_mask(a, b, 0.6)).backward()
    assert a.grad[..., 1].abs().sum() > 0
    assert b.grad[..., 1].abs().sum() > 0


def test_symmetric_divergence():
    a, b = binary([0.7]), binary([0.2])
    p, q = np.array([0.3, 0.7]), np.array([0.8, 0.2])
    wanted = 0.5 * ((p * np.log(p / q)).sum() + (q * np.log(q / p)).sum())
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    assert disagreement_loss(a, b, mask, "kl").item() == pytest.approx(wanted, abs=1e-6)


def test_several_classes_differ_where_both_are_sure_of_different_ones():
    first = torch.tensor([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.4, 0.5, 0.1], [0.9, 0.1, 0.0]])
    second = torch.tensor([[0.1, 0.1, 0.8], [0.1, 0.7, 0.2], [0.4, 0.1, 0.5], [0.8, 0.1, 0.1]])
    a, b = first.T[None, :, None], second.T[None, :, None]
    mask = confident_mask(a, b, 0.6)
    assert mask.flatten().tolist() == [True, False, False, False]
    assert disagreement_loss(a, b, mask).item() == pytest.approx(0.7**2 + 0.7**2, abs=1e-6)


# The rectified loss of one voxel with logits (0, 1) of the student and (0, 2) of the teacher.
STUDENT, TEACHER = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[0.0], [2.0]]])


@pytest.mark.parametrize(("temperature", "loss"), [(0.5, 0.3768716960), (1.0, 0.4715167033), (0.1, 0.3600532799)])
def test_rectified_by_hand(temperature, loss):
    assert rectified_loss(STUDENT, TEACHER, temperature).item() == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_a_hard_target_knows_no_temperature(temperature):
    assert rectified_loss(STUDENT, TEACHER, temperature, hard=True).item() == pytest.approx(0.3600532780, abs=1e-6)


def test_rectified_has_a_direction():
    assert rectified_loss(TEACHER, STUDENT, 0.5).item() == pytest.approx(0.4189750935, abs=1e-6)
    assert rectified_loss(STUDENT, STUDENT, 0.5).item() == pytest.approx(0.4324646095, abs=1e-6)
    assert rectified_loss(STUDENT, STUDENT, 1.0).item() == pytest.approx(0.5822031089, abs=1e-6)


def test_the_student_alone_learns_through_weight_and_target():
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    rectified_loss(student, teacher).backward()
    assert teacher.grad is None
    step = 1e-3
    higher = STUDENT + torch.tensor([[[0.0], [step]]])
    lower = STUDENT - torch.tensor([[[0.0], [step]]])
    slope = (rectified_loss(higher, TEACHER) - rectified_loss(lower, TEACHER)) / (2 * step)
    assert student.grad[0, 1, 0].item() == pytest.approx(slope.item(), abs=1e-4)


def test_cosine():
    a, b = binary([1.0, 0.5]), binary([0.0, 0.5])
    assert cosine_loss(a, b).item() == pytest.approx(0.5, abs=1e-6)
