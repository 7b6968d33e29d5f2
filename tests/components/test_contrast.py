"""Pairs and InfoNCE against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from fewmask.components.contrast import ProjectionHead, choose_pairs, contrast_loss, cosines, pair_loss
from fewmask.networks.counting import count_parameters

# Candidates around the circle, anchor along the first axis: cosines 1, 0, -1, 0.6.
CANDIDATES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
ANCHOR = torch.tensor([[1.0, 0.0]])


def loss_of(anchors, candidates, k, temperature=0.5, scope="class_mean", form="single_positive"):
    similarity = cosines(anchors, candidates)
    return contrast_loss(similarity, choose_pairs(similarity, k, scope), temperature, form).item()


@pytest.mark.parametrize(
    ("positive", "negative", "temperature", "loss"),
    [
        ([0.3], [0.3], 1, math.log(2)),
        ([1.0], [-1.0], 1, 0.126928),
        ([1.0], [-1.0], 0.5, 0.018150),
        ([1.0], [0.0] * 4, 0.5, 0.432653),
        ([0.2] * 64, [0.2] * 64, 0.1, math.log(65)),
    ],
)
def test_known_losses(positive, negative, temperature, loss):
    value = pair_loss(torch.tensor([positive]), torch.tensor([negative]), temperature)
    assert value.item() == pytest.approx(loss, abs=1e-6)


def test_the_sum_of_positives_against_float64():
    p, q = torch.randn(3, 5, dtype=torch.float64).tanh(), torch.randn(3, 4, dtype=torch.float64).tanh()
    powers = [(rows / 0.2).exp().sum(1) for rows in (p, q)]
    wanted = -(powers[0] / (powers[0] + powers[1])).log().mean()
    torch.testing.assert_close(pair_loss(p, q, 0.2, "sum_positives"), wanted)
    single = -((p / 0.2).exp() / ((p / 0.2).exp() + powers[1][:, None])).log().mean()
    torch.testing.assert_close(pair_loss(p, q, 0.2), single)


def test_far_apart_pairs_at_a_low_temperature_are_finite():
    assert pair_loss(torch.tensor([[-1.0]]), torch.tensor([[1.0]]), 1e-3).item() == pytest.approx(2000)


@pytest.mark.parametrize(("k", "loss"), [(1, 0.018150), (2, 0.218530)])
def test_the_nearest_and_the_farthest_are_paired(k, loss):
    assert loss_of(ANCHOR, CANDIDATES, k) == pytest.approx(loss, abs=1e-6)


def test_two_positives_are_rows_one_and_four_against_rows_three_and_two():
    pairs = choose_pairs(cosines(ANCHOR, CANDIDATES), 2)
    assert pairs.positives.tolist() == [[0, 3]]
    assert pairs.negatives.tolist() == [[2, 1]]


def test_lengths_and_order_do_not_matter():
    torch.manual_seed(0)
    anchors, candidates = torch.randn(5, 8), torch.randn(40, 8)
    wanted = loss_of(anchors, candidates, 7)
    assert loss_of(3 * anchors, candidates * torch.rand(40, 1).add(0.1), 7) == pytest.approx(wanted, rel=1e-5)
    assert loss_of(anchors, candidates[torch.randperm(40)], 7) == pytest.approx(wanted, rel=1e-5)


def test_a_ranking_for_the_class_and_one_for_each_anchor():
    candidates = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0], [-1.0, 0.0]])
    two = torch.tensor([[1.0, 0.0], [0.2, 1.0]])
    for one in (ANCHOR, two[1:]):
        assert loss_of(one, CANDIDATES, 2, scope="anchor") == pytest.approx(loss_of(one, CANDIDATES, 2))
    per_class, per_anchor = (choose_pairs(cosines(two, candidates), 1, scope) for scope in ("class_mean", "anchor"))
    assert per_anchor.positives.tolist() == [[0], [1]]
    assert len(per_class.positives) == 1
    assert loss_of(two, candidates, 1) > loss_of(two, candidates, 1, scope="anchor") + 0.05


def test_no_more_than_half_the_candidates_on_a_side():
    pairs = choose_pairs(cosines(ANCHOR, CANDIDATES), 64)
    assert sorted(pairs.positives[0].tolist() + pairs.negatives[0].tolist()) == [0, 1, 2, 3]


def test_members_give_the_positives_and_the_others_the_negatives():
    members = torch.tensor([False, True, True, False])
    pairs = choose_pairs(cosines(ANCHOR, CANDIDATES), 2, members=members)
    assert pairs.positives.tolist() == [[1, 2]]
    assert pairs.negatives.tolist() == [[3, 0]]
    one = choose_pairs(cosines(ANCHOR, CANDIDATES), 2, members=torch.tensor([False, False, True, False]))
    assert one.positives.tolist() == [[2]]
    assert one.negatives.tolist() == [[1, 3]]
    for nobody in (torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)):
        assert choose_pairs(cosines(ANCHOR, CANDIDATES), 2, members=nobody) is None


def test_gradient_reaches_the_chosen_candidates_alone():
    candidates = CANDIDATES.clone().requires_grad_()
    anchors = torch.tensor([[0.9, 0.1]], requires_grad=True)
    similarity = cosines(anchors.detach(), candidates)
    contrast_loss(similarity, choose_pairs(similarity, 1), 0.5).backward()
    assert (candidates.grad.abs().sum(1) > 0).tolist() == [True, False, True, False]


def test_size_of_the_head():
    assert count_parameters(ProjectionHead(16, 64)) == 5376
