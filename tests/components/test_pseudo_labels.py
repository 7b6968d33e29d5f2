from __future__ import annotations

import numpy as np
import pytest
import torch

from fewmask.components.pseudo_labels import (
    IGNORE,
    confident_labels,
    entropy_filtered_loss,
    pseudo_label_loss,
    uncertain_voxels,
    union_labels,
)
from fewmask.components.uncertainty import logit_entropy, percentile
from toys import FOREGROUND_A as FIRST
from toys import FOREGROUND_B as SECOND
from toys import logits_of


def labels_of(logits, confidence):
    return confident_labels(logits.softmax(1), confidence).flatten().tolist()


@pytest.mark.parametrize(
    ("confidence", "first", "second", "loss"),
    [(0.6, [1, 0, 0, 1], [1, 0, 0, 0], 1.5150673591), (0.5, [1, 1, 0, 1], [1, 0, 1, 0], 2.0734654144)],
)
def test_cross_pseudo_labels_above_a_confidence(confidence, first, second, loss):
    a, b = logits_of([0.9, 0.55, 0.2, 0.65]), logits_of([0.7, 0.3, 0.58, 0.1])
    assert labels_of(a, confidence) == first
    assert labels_of(b, confidence) == second
    labels = [confident_labels(one.softmax(1), confidence) for one in (a, b)]
    assert pseudo_label_loss(a, b, *labels).item() == pytest.approx(loss, abs=2e-6)


def test_each_network_learns_from_the_other_and_not_the_other_way():
    a, b = logits_of([0.9, 0.55, 0.2, 0.65]), logits_of([0.7, 0.3, 0.58, 0.1])
    nothing = torch.full((1, 1, 4), IGNORE)
    pseudo_label_loss(a, b, nothing, confident_labels(b.softmax(1), 0.6)).backward()
    assert a.grad.abs().sum() > 0
    assert b.grad.abs().sum() == 0


def test_doubtful_foreground_can_be_ignored():
    probabilities = logits_of([0.9, 0.55, 0.2]).softmax(1)
    assert confident_labels(probabilities, 0.6, ignore_doubtful=True).flatten().tolist() == [1, IGNORE, 0]


def test_the_union_of_many_classes():
    """Equal labels stay, foreground beats background, of two foreground classes the surer wins."""
    first = torch.tensor([[0.8, 0.1, 0.1], [0.9, 0.1, 0.0], [0.1, 0.6, 0.3], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]])
    second = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.1, 0.5], [0.8, 0.1, 0.1], [0.0, 0.1, 0.9], [0.1, 0.2, 0.7]])
    labels = union_labels(first.T[None, :, None], second.T[None, :, None])
    assert labels.flatten().tolist() == [0, 2, 1, 2, 2]


@pytest.mark.parametrize(("target", "loss"), [("union", 0.549008), ("cross", 1.083666)])
def test_entropy_filter_by_hand(target, loss):
    a, b = logits_of(FIRST), logits_of(SECOND)
    uncertain, mine, theirs = uncertain_voxels(a, b, 70)
    assert mine.item() == pytest.approx(0.629509, abs=1e-6)
    assert theirs.item() == pytest.approx(0.629509, abs=1e-6)
    assert uncertain.flatten().nonzero().flatten().tolist() == [9]
    assert entropy_filtered_loss(a, b, uncertain, target).item() == pytest.approx(loss, abs=2e-6)
    plain = entropy_filtered_loss(a, b, uncertain, target, reweight=False).item()
    assert plain == pytest.approx(0.9 * loss, abs=2e-6)


def test_a_low_percentile_keeps_few_and_counts_them_more():
    a, b = logits_of(FIRST), logits_of(SECOND)
    uncertain, mine, theirs = uncertain_voxels(a, b, 20)
    assert [mine.item(), theirs.item()] == pytest.approx([0.178420, 0.185761], abs=1e-6)
    assert (~uncertain).flatten().nonzero().flatten().tolist() == [0, 7]
    assert entropy_filtered_loss(a, b, uncertain).item() == pytest.approx(0.202287, abs=2e-6)
    shares = [uncertain_voxels(a, b, share)[0].float().mean().item() for share in (20, 40, 60, 70, 90)]
    assert shares == sorted(shares, reverse=True)
    assert uncertain_voxels(a, b, 70, "any")[0].sum() == 5


@pytest.mark.parametrize(
    "logits", [torch.zeros(1, 2, 1, 6), torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).repeat(1, 1, 1, 6)]
)
def test_nothing_certain_gives_zero_and_no_nan(logits):
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    uncertain, *_ = uncertain_voxels(a, b, 70)
    assert uncertain.all(), "ties count as uncertain"
    loss = entropy_filtered_loss(a, b, uncertain)
    loss.backward()
    assert loss.item() == 0
    assert a.grad.isfinite().all()


def test_ignored_voxels_neither_teach_nor_learn():
    a, b = logits_of(FIRST), logits_of(SECOND)
    uncertain, *_ = uncertain_voxels(a, b, 70)
    other = logits_of([*FIRST[:9], 0.51])
    assert entropy_filtered_loss(a, b, uncertain).item() == entropy_filtered_loss(other, b, uncertain).item()
    entropy_filtered_loss(a, b, uncertain).backward()
    assert a.grad[..., 9].abs().sum() == 0
    assert (a.grad[..., :9].abs().sum(1) > 0).all()


def test_agreement_alone():
    a, b = logits_of([0.9, 0.9, 0.2]), logits_of([0.8, 0.3, 0.1])
    none = torch.zeros(1, 1, 3, dtype=torch.bool)
    wanted = -np.mean(np.log([0.9, 0.8])) - np.mean(np.log([0.8, 0.9]))
    loss = entropy_filtered_loss(a, b, none, "agree", reweight=False)
    assert loss.item() == pytest.approx(wanted, abs=1e-6)


def test_entropy_of_logits():
    wanted = {0.5: 0.693147, 0.7: 0.610864, 0.8: 0.500402, 0.9: 0.325083, 0.95: 0.198515, 0.99: 0.056002}
    entropies = logit_entropy(logits_of(list(wanted))).flatten()
    assert entropies.tolist() == pytest.approx(list(wanted.values()), abs=1e-6)
    assert logit_entropy(torch.tensor([[1e4, -1e4], [-1e4, 1e4]])).tolist() == [0, 0]


@pytest.mark.parametrize("share", [0, 30, 70, 99.9, 100])
def test_the_percentile_is_numpys(share):
    values = torch.rand(2, 37, 41, generator=torch.Generator().manual_seed(1)).square()
    assert percentile(values, share).item() == pytest.approx(np.percentile(values.numpy(), share), abs=1e-6)


def test_the_percentile_of_more_values_than_torch_takes():
    values = torch.arange(2**24 + 9, dtype=torch.float32)[None]
    assert percentile(values, 50).item() == pytest.approx((2**24 + 8) / 2)


def test_one_threshold_for_all_patches():
    """Two patches of disjoint entropies: thresholds of their own would call a part of each uncertain."""
    sure, unsure = logits_of([0.99, 0.98, 0.97, 0.96]), logits_of([0.5, 0.52, 0.54, 0.56])
    both = torch.cat([sure, unsure])
    uncertain, *_ = uncertain_voxels(both, both, 50)
    assert uncertain[0].sum() == 0
    assert uncertain[1].all()
