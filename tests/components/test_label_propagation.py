"""Which voxels enter the bank, and what the contrast does with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fewmask.components.label_propagation import LabelPropagation, PropagationConfig
from fewmask.components.memory_bank import BankConfig

LABELS = torch.tensor([[[0, 0, 1], [1, 2, 2]], [[0, 1, 1], [1, 1, 0]]])


def propagation(bank=None, **settings):
    torch.manual_seed(0)
    numbers = {"size": 8, "anchors": 6, "candidates": 12, "top": 3, "temperature": 0.5}
    bank = {"slots": 4, "push": 5} | (bank or {})
    return LabelPropagation(3, 3, PropagationConfig(**(numbers | settings)), BankConfig(**bank))


def features():
    """Three channels that differ at every voxel."""
    return torch.arange(36.0).reshape(2, 3, 2, 3).sin()


def predicted(labels, sure=0.9):
    """Probabilities ``(B, 3, *S)`` whose largest is at ``labels``."""
    return torch.nn.functional.one_hot(labels, 3).movedim(-1, 1) * (sure - (1 - sure) / 2) + (1 - sure) / 2


def remembered(method, label):
    """The voxels, as (image, place), whose projected features are in the bank."""
    table = method.head(features().movedim(1, -1).reshape(-1, 3))
    rows = method.bank.draw(label, 1000)
    return sorted(int(place) for place in torch.cdist(rows, table).argmin(1)) if len(rows) else []


def test_right_predictions_enter_by_class_and_wrong_ones_never():
    method, guess = propagation(), LABELS.clone()
    guess[0, 0, 1], guess[1, 1, 0] = 2, 0  # two planted mistakes: places 1 and 9
    method.remember(features(), predicted(guess), LABELS, ["a", "b", "u"])
    assert remembered(method, 0) == [0, 6, 11]
    assert remembered(method, 1) == [2, 3, 7, 8, 10]
    assert remembered(method, 2) == [4, 5]
    rows = method.bank.draw(2, 1000)
    assert not rows.requires_grad
    assert set(method.bank.owners[2].tolist()) > {-1}


def test_only_sure_predictions_enter_where_confidence_is_asked_for():
    method = propagation({"confidence": 0.8})
    sure = predicted(LABELS, 0.9)
    sure[0] = predicted(LABELS[:1], 0.7)[0]
    method.remember(features(), sure, LABELS, [])
    assert remembered(method, 0) == [6, 11]


def test_no_more_than_push_of_a_class_are_drawn():
    method = propagation({"push": 2})
    method.remember(features(), predicted(LABELS), LABELS, ["a", "b"])
    assert [len(method.bank.draw(label, 1000)) for label in range(3)] == [4, 4, 2]


@pytest.mark.parametrize("scope", ["class_mean", "anchor"])
@pytest.mark.parametrize("form", ["single_positive", "sum_positives"])
def test_the_loss_against_loops_in_float64(scope, form):
    """Eq. 11 to 15, with all that is remembered and all voxels drawn."""
    method = propagation(anchors=1000, candidates=1000, scope=scope, form=form)
    method.remember(features(), predicted(LABELS), LABELS, ["a", "b"])
    maps = features().flip(0)
    loss, _ = method(maps, LABELS)
    with torch.no_grad():
        b = method.head(maps.movedim(1, -1).reshape(-1, 3)).double().numpy()
    classes = []
    for label in range(3):
        a = method.bank.draw(label, 1000).double().numpy()
        s = np.array([[x @ y / np.sqrt((x @ x) * (y @ y)) for y in b] for x in a])
        terms = []
        for row in s:
            ranked = np.argsort(-(s.mean(0) if scope == "class_mean" else row))
            positive, negative = np.exp(row[ranked[:3]] / 0.5), np.exp(row[ranked[-3:]] / 0.5).sum()
            kept = positive if form == "single_positive" else positive.sum(keepdims=True)
            terms += [-math.log(each / (each + negative)) for each in kept]
        classes.append(np.mean(terms))
    assert loss.item() == pytest.approx(np.mean(classes), rel=1e-5)


def test_an_empty_bank_gives_zero_and_a_backward():
    method, maps = propagation(), features().requires_grad_()
    loss, logs = method(maps, LABELS)
    assert loss.item() == 0
    assert logs == {}
    loss.backward()
    assert not maps.grad.any()


def test_an_absent_class_is_left_out_of_the_mean():
    method = propagation()
    only = LABELS.clamp(max=1)
    method.remember(features(), predicted(only), only, ["a", "b"])
    torch.manual_seed(1)
    loss, logs = method(features(), LABELS)
    assert loss.isfinite()
    assert loss > 0
    assert {"positives_pure_0", "positives_pure_1"} <= logs.keys()
    assert "positives_pure_2" not in logs


def test_the_loss_trains_head_and_candidates_and_nothing_remembered():
    method, labelled, maps = propagation(), features().requires_grad_(), features().flip(0).requires_grad_()
    method.remember(labelled, predicted(LABELS), LABELS, ["a", "b"])
    method(maps, LABELS)[0].backward()
    assert labelled.grad is None
    assert maps.grad.abs().sum() > 0
    assert all(p.grad is not None for p in method.head.parameters())
    assert all(p.grad.abs().sum() > 0 for p in method.head.parameters() if p.ndim > 1)


@pytest.mark.parametrize("filtered", [True, False])
def test_purity_is_measured_against_what_is_believed(filtered):
    method = propagation(candidate_filter="pseudo" if filtered else "none")
    method.remember(features(), predicted(LABELS), LABELS, ["a", "b"])
    # Believed: everything is the other class of 0 and 1, so that likeness contradicts belief.
    believed = torch.where(LABELS < 2, 1 - LABELS, LABELS)
    _, logs = method(features(), believed)
    shares = torch.stack([value for key, value in logs.items() if "pure" in key])
    assert (shares == 1).all().item() is filtered


def test_fewer_voxels_than_candidates():
    method = propagation(candidates=1000, top=500)
    method.remember(features(), predicted(LABELS), LABELS, ["a", "b"])
    loss, _ = method(features(), LABELS)
    assert loss.isfinite()
