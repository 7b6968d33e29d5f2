"""Ranks against Demsar's worked example and scipy."""

import numpy as np
import pytest
from scipy import stats

from fewmask.bench.case_scores import CaseScores
from fewmask.bench.ranks import critical_difference, rank_methods, rank_table
from fewmask.errors import ConfigError, DataError

METHODS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
# AUC of four decision trees on 14 data sets: Demsar, JMLR 7, 2006, Table 6. He ranks two values printed as 0.975 second and third.
DEMSAR = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],
    [0.957, 0.978, 0.946, 0.970],
]


def test_demsars_ranks():
    ranking = rank_table(DEMSAR, METHODS)
    assert ranking.methods == ("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")
    assert ranking.average == pytest.approx((1.964, 2.000, 2.893, 3.143), abs=5e-4)
    # His chi-square, 9.28, is without the correction for ties that scipy makes.
    plain = 12 * 14 / (4 * 5) * (sum(rank**2 for rank in ranking.average) - 4 * 5**2 / 4)
    assert plain == pytest.approx(9.28, abs=0.01)
    tied = [np.unique(row, return_counts=True)[1] for row in DEMSAR]
    correction = 1 - sum(int((counts**3 - counts).sum()) for counts in tied) / (14 * (4**3 - 4))
    assert ranking.statistic == pytest.approx(plain / correction)
    assert ranking.p == pytest.approx(stats.chi2.sf(plain / correction, 3))


def test_demsars_critical_differences():
    assert critical_difference(4, 14, 0.05) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)  # his 1.25
    assert critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=5e-3)
    # his Table 5, q at 0.05
    for methods, quantile in {2: 1.960, 3: 2.343, 5: 2.728, 10: 3.164}.items():
        assert critical_difference(methods, methods * (methods + 1), 0.05) == pytest.approx(
            quantile / np.sqrt(6), abs=5e-4
        )


def test_groups_are_what_cannot_be_told_apart():
    ranking = rank_table(DEMSAR, METHODS, alpha=0.10)
    # the critical difference is 1.12: 3.143 - 2.000 and 3.143 - 1.964 are more, 2.893 - 1.964 is less
    assert ranking.groups() == [("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5")]


def test_clear_ranks_have_no_groups():
    values = np.arange(40)[:, None] * 0.01 + np.array([0.3, 0.1, 0.2])
    ranking = rank_table(values, "abc")
    assert ranking.methods == ("a", "c", "b") and ranking.average == (1.0, 2.0, 3.0)
    assert ranking.groups() == [] and ranking.p < 1e-10
    assert rank_table(values, "abc", higher_is_better=False).methods == ("b", "c", "a")


def test_without_any_difference_one_bar_joins_all():
    ranking = rank_table(np.ones((8, 3)), "abc")
    assert ranking.average == (2.0, 2.0, 2.0) and ranking.p == 1.0
    assert ranking.groups() == [("a", "b", "c")]


def test_ranks_that_differ_by_chance_are_joined_also_beyond_the_critical_difference():
    """Twelve cases in one order and five in the other: chi-square 5.76 of the 5.99 needed, but a range above Nemenyi's difference."""
    ranking = rank_table([[0.9, 0.8, 0.7]] * 12 + [[0.7, 0.8, 0.9]] * 5, "abc")
    assert ranking.average[2] - ranking.average[0] > ranking.critical_difference and ranking.p > 0.05
    assert ranking.groups() == [("a", "b", "c")]


def test_cases_average_their_seeds_and_absent_ones_are_dropped():
    cases = tuple(f"case{number}" for number in range(8))
    best = np.vstack([np.full(8, 0.9), np.full(8, 0.7)])
    best[:, 3] = np.nan
    scores = CaseScores("dice", {"a": np.full((1, 8), 0.5), "b": best, "c": np.full((1, 8), 0.75)}, cases)
    ranking = rank_methods(scores)
    assert ranking.methods == ("b", "c", "a") and (ranking.blocks, ranking.dropped) == (7, 1)


@pytest.mark.parametrize(("shape", "complaint"), [((20, 2), "three methods"), ((5, 4), "there are 5")])
def test_too_little_is_told(shape, complaint):
    with pytest.raises(DataError, match=complaint):
        rank_table(np.random.default_rng(0).random(shape), "abcd"[: shape[1]])


def test_alpha_is_a_share():
    with pytest.raises(ConfigError, match="alpha"):
        critical_difference(3, 10, 5)
