from __future__ import annotations

import pytest
import torch

from fewmask.components.prototypes import prototype_contrast, reliable_voxels
from toys import FOREGROUND_A as FIRST
from toys import FOREGROUND_B as SECOND
from toys import logits_of

# Six voxels with two features: reliable foreground, reliable background, uncertain foreground, uncertain background.
ROWS = torch.tensor([[3.0, 0], [1, 0], [0, 2], [0, 6], [1, 1], [-3, 4]])
LABELS = torch.tensor([[1, 1, 0, 0, 1, 0]])
RELIABLE = torch.tensor([[True, True, True, True, False, False]])


def features(rows):
    return rows.T[None].clone().requires_grad_()


@pytest.mark.parametrize(("between", "loss"), [(1, 2.8120360), (0, 1.3978224), (-1, -0.0163912)])
def test_by_hand(between, loss):
    value = prototype_contrast(features(ROWS), LABELS, RELIABLE, 2, between=between)
    assert value.item() == pytest.approx(loss, abs=1e-6)


def test_the_length_of_a_feature_means_nothing():
    value = prototype_contrast(features(7 * ROWS), LABELS, RELIABLE, 2)
    assert value.item() == pytest.approx(2.8120360, abs=1e-6)


@pytest.mark.parametrize("missing", [[0, 1], [2, 3]])
def test_a_class_without_reliable_voxels_is_left_out(missing):
    reliable, rows = RELIABLE.clone(), features(ROWS)
    reliable[0, missing] = False
    loss = prototype_contrast(rows, LABELS, reliable, 2)
    loss.backward()
    assert loss.item() < 1.5, "one pull and no distance between prototypes"
    assert rows.grad.isfinite().all()


def test_a_feature_of_zeros_gets_no_gradient():
    """It has no direction; a quotient by its length passes a trillion times the gradient, which bfloat16 turns into NaN soon after."""
    rows = features(torch.cat([ROWS[:5], torch.zeros(1, 2)]))
    loss = prototype_contrast(rows, LABELS, RELIABLE, 2)
    loss.backward()
    assert loss.item() == pytest.approx(0.7653669 + 1 + 1.4142136, abs=1e-6)
    assert not rows.grad[..., -1].any()
    assert rows.grad.abs().max() < 2


def test_nothing_uncertain_leaves_the_prototypes_alone():
    loss = prototype_contrast(features(ROWS[:4]), LABELS[:, :4], RELIABLE[:, :4], 2)
    assert loss.item() == pytest.approx(2**0.5, abs=1e-6)
    nothing = prototype_contrast(features(ROWS), LABELS, torch.zeros_like(RELIABLE), 2)
    assert nothing.item() == 0


@pytest.mark.parametrize(("uncertain", "drawn"), [(250, 2), (40, 1)])
def test_one_percent_of_the_uncertain_foreground_is_drawn(uncertain, drawn):
    rows = torch.randn(uncertain + 300, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1] * (uncertain + 100) + [0] * 200])
    reliable = torch.tensor([[False] * uncertain + [True] * 100 + [False] * 100 + [True] * 100])
    value = features(rows)
    prototype_contrast(value, labels, reliable, 2, between=0).backward()
    touched = value.grad.abs().sum(1)[0] > 0
    assert touched[:uncertain].sum() == drawn
    assert touched[uncertain + 100 : uncertain + 200].sum() == drawn
    assert not touched[reliable[0]].any(), "the prototypes take no gradient from the pull"


@pytest.mark.parametrize("between", [1, 0, -1])
def test_a_step_draws_voxels_near_and_prototypes_as_told(between):
    def distances(rows):
        unit = torch.nn.functional.normalize
        means = [unit(rows[0, :, :2].mean(1), dim=0), unit(rows[0, :, 2:4].mean(1), dim=0)]
        pull = (unit(rows[0, :, 4], dim=0) - means[0]).norm() + (unit(rows[0, :, 5], dim=0) - means[1]).norm()
        return pull.item(), (means[0] - means[1]).norm().item()

    rows = features(ROWS + 0.3)
    prototype_contrast(rows, LABELS, RELIABLE, 2, between=between).backward()
    before, after = distances(rows.detach()), distances((rows - 0.05 * rows.grad).detach())
    assert after[0] < before[0] if between == 0 else after[0] != before[0]
    assert (after[1] - before[1]) * between <= 0
    assert (after[1] != before[1]) == bool(between)


def test_reliable_where_both_agree_and_both_are_certain():
    a, b = logits_of(FIRST), logits_of(SECOND)
    assert reliable_voxels(a, b, 70).flatten().nonzero().flatten().tolist() == [0, 2, 4, 6, 7]
    assert reliable_voxels(a, b, 20).flatten().nonzero().flatten().tolist() == [0, 7]
