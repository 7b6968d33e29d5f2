from itertools import pairwise

import numpy as np
import pytest

from fewmask.inference.postprocess import entropy_map
from fewmask.inference.select import UNSURE, disagreement, foreground_doubt, order, percentile_ranks


def ball(radius, blur, side=48):
    """Foreground probabilities of a disc whose border is ``blur`` pixels wide."""
    rows, columns = np.mgrid[:side, :side] - side / 2
    return 1 / (1 + np.exp((np.hypot(rows, columns) - radius) / blur))


def doubt(p):
    return foreground_doubt(entropy_map(np.stack([1 - p, p])), p > 0.5)


def test_threshold_is_the_entropy_of_one_in_twenty():
    assert entropy_map(np.array([[0.95], [0.05]]))[0] == pytest.approx(UNSURE, abs=5e-4)


def test_doubt_by_hand():
    entropy = np.array([0.1, 0.2, 0.9, 0.3, 0.2, 0.0])
    foreground = np.array([True, True, False, False, False, False])
    assert foreground_doubt(entropy, foreground) == pytest.approx((0.1 + 0.2 + 0.9 + 0.3) / 4)
    assert foreground_doubt(np.zeros(4), np.zeros(4, bool)) == 0


def test_doubt_goes_with_the_share_that_may_be_wrong_and_not_with_the_field_of_view():
    assert doubt(ball(12, 2)) > 1.5 * doubt(ball(12, 0.5))
    assert doubt(ball(5, 1)) > 1.5 * doubt(ball(15, 1))  # the same border around less
    assert doubt(ball(8, 1, side=96)) == pytest.approx(doubt(ball(8, 1, side=48)), rel=1e-6)
    found = ball(12, 0.5)
    almost = np.maximum(found, 0.4 * np.roll(ball(5, 0.5), 18, axis=0))
    assert doubt(almost) > 1.2 * doubt(found)


def test_disagreement_is_one_minus_the_mean_dice_of_all_pairs_and_classes():
    maps = [np.array(m) for m in ([1, 1, 0, 2], [1, 0, 0, 2], [1, 1, 0, 0])]
    pairs = [(2 / 3, 1), (1, 0), (2 / 3, 0)]  # class 1 and class 2 of each pair
    assert disagreement(maps, 3) == pytest.approx(1 - np.mean(pairs))
    assert disagreement(maps[:1] * 2, 3) == 0
    assert disagreement([np.zeros(4, int)] * 2, 3) == 0
    assert disagreement([np.ones(4, int), np.zeros(4, int)], 2) == 1


def test_percentile_ranks():
    np.testing.assert_allclose(percentile_ranks(np.array([5.0, 1.0, 5.0, 9.0])), [0.75, 0.25, 0.75, 1.0])


@pytest.fixture
def scattered():
    """Scans 0 to 2 in a heap, 3 and 4 far off on either side, 5 a copy of 3; the known one lies in the heap."""
    features = np.array([[0.0, 0.1], [0.1, 0.0], [0.0, -0.1], [5.0, 5.0], [-4.0, 4.0], [5.0, 5.0]])
    return features, np.array([[0.0, 0.0]])


def indices(picks):
    return [pick.index for pick in picks]


def test_diversity_takes_the_farthest_first_and_copies_last(scattered):
    picks = order(None, *scattered, spreads=True)
    assert indices(picks)[:2] == [3, 4] and indices(picks)[-1] == 5
    assert picks[0].nearest == -1 and picks[-1].nearest == 3 and picks[-1].novelty == 0
    assert all(first.novelty >= second.novelty for first, second in pairwise(picks))


def test_doubt_alone_takes_no_account_of_copies(scattered):
    doubts = np.array([0.1, 0.2, 0.3, 0.9, 0.5, 0.8])
    assert indices(order(doubts, *scattered, spreads=False)) == [3, 5, 4, 2, 1, 0]


def test_doubt_times_novelty_takes_neither_copies_nor_what_is_sure(scattered):
    doubts = np.array([0.9, 0.2, 0.3, 0.8, 0.0, 1.0])
    chosen = indices(order(doubts, *scattered, spreads=True))
    assert chosen[0] == 5 and chosen[1] in (0, 1, 2) and set(chosen[-2:]) == {3, 4}


def test_without_any_label_the_first_is_an_ordinary_one(scattered):
    picks = order(None, scattered[0], np.empty((0, 2)), spreads=True)
    assert picks[0].index in (0, 1, 2) and picks[0].nearest is None and picks[1].index in (3, 4, 5)


def test_features_that_never_differ_say_nothing():
    features = np.array([[1.0, 0.0], [1.0, 3.0], [1.0, 1.0]])
    assert indices(order(None, features, np.array([[1.0, 0.0]]), spreads=True))[0] == 1
    same = order(np.array([0.1, 0.3, 0.2]), np.ones((3, 2)), np.ones((1, 2)), spreads=True)
    assert sorted(indices(same)) == [0, 1, 2]
