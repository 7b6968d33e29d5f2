"""Intervals, tests and corrections against values known from elsewhere: R's manual, textbooks, enumeration by hand."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from fewmask.bench.case_scores import CaseScores
from fewmask.bench.statistics import (
    bootstrap_interval,
    compare,
    compare_all,
    holm,
    may_be_bold,
    signed_rank_test,
    summarise,
    t_interval,
)
from fewmask.errors import ConfigError, DataError

# Depression scores of nine patients before and after (Hollander and Wolfe, 1973, in R's help of wilcox.test).
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=20)


def scores(metric="dice", **values):
    tables = {name.replace("_", "-"): np.atleast_2d(np.asarray(rows, dtype=float)) for name, rows in values.items()}
    count = next(iter(tables.values())).shape[1]
    return CaseScores(metric, tables, tuple(f"case{number:02}" for number in range(count)))


class TestIntervals:
    @pytest.mark.parametrize(
        ("values", "mean", "half"),
        [
            ([91.63, 91.93, 91.70, 91.67, 91.89], 91.764, 0.12996),
            ([90.38, 91.26, 90.71, 90.61, 90.76, 90.17, 91.14, 90.26, 90.77, 90.21], 90.627, 0.21926),
        ],
    )
    def test_t_interval_of_published_runs(self, values, mean, half):
        interval = t_interval(values, 0.90)
        assert (interval.low + interval.high) / 2 == pytest.approx(mean, abs=1e-9)
        assert interval.half == pytest.approx(half, abs=1e-5)

    def test_t_interval_by_the_table(self):
        # n = 4, mean 5, s = sqrt(20 / 3); the table has t(0.975, 3) = 3.182
        interval = t_interval([2, 4, 6, 8], 0.95)
        assert (interval.low, interval.high) == pytest.approx((0.8916, 9.1084), abs=5e-4)

    def test_t_interval_is_scipys(self):
        expected = stats.t.interval(0.95, 19, NOISE.mean(), stats.sem(NOISE))
        interval = t_interval(NOISE)
        assert (interval.low, interval.high) == pytest.approx(expected)

    def test_bootstrap_reaches_to_the_longer_tail(self):
        """Scores near 1 with one bad case: BCa reaches farther down than up, which a t interval cannot."""
        values = [0.95, 0.94, 0.96, 0.93, 0.95, 0.94, 0.96, 0.95, 0.92, 0.60]
        interval, mean = bootstrap_interval(values), np.mean(values)
        assert interval.low < mean < interval.high <= 0.96
        assert mean - interval.low > 1.5 * (interval.high - mean)
        assert t_interval(values).high > 0.96

    def test_bootstrap_of_a_symmetric_sample_is_the_enumerated_one(self):
        """Of (0, 0, 0, 1, 1, 1), a resample's sum is binomial (6, 1/2); 5 % of it lie below 1 or are 1, 95 % at most 5."""
        interval = bootstrap_interval([0, 0, 0, 1, 1, 1], 0.90)
        low, high = stats.binom.ppf([0.05, 0.95], 6, 0.5) / 6
        assert (interval.low, interval.high) == pytest.approx((low, high))

    def test_bootstrap_is_bias_corrected_and_accelerated(self):
        """Against Efron's formula written out; plain percentiles of the same resamples are elsewhere."""
        values = np.array([0.95, 0.94, 0.96, 0.93, 0.95, 0.94, 0.96, 0.95, 0.92, 0.60])
        means = np.random.default_rng(5).choice(values, (20_000, 10)).mean(axis=1)
        left_out = np.array([np.delete(values, index).mean() for index in range(10)])
        pull = left_out.mean() - left_out
        acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
        bias = stats.norm.ppf(np.mean(means < values.mean()))
        shifted = bias + stats.norm.ppf([0.05, 0.95])
        expected = np.quantile(means, stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)))
        interval = bootstrap_interval(values, 0.90)
        assert (interval.low, interval.high) == pytest.approx(expected, abs=0.004)
        assert np.quantile(means, 0.05) - interval.low > 0.015

    def test_bootstrap_repeats_itself_and_narrows_with_the_level(self):
        wide, again, narrow = (bootstrap_interval(NOISE, level) for level in (0.95, 0.95, 0.90))
        assert wide == again
        assert wide.low < narrow.low < narrow.high < wide.high
        assert bootstrap_interval(NOISE, seed=1) != wide

    def test_bootstrap_covers(self):
        rng = np.random.default_rng(7)
        found = [bootstrap_interval(rng.exponential(size=25), 0.9, resamples=499) for _ in range(150)]
        hits = np.mean([interval.low <= 1 <= interval.high for interval in found])
        assert 0.80 <= hits <= 0.97

    def test_equal_values_have_no_width(self):
        for interval in (bootstrap_interval([0.9] * 8), t_interval([0.9] * 8)):
            assert (interval.low, interval.high) == pytest.approx((0.9, 0.9))

    def test_values_that_differ_by_rounding_are_equal(self):
        """As the means of one case's scores in another order; BCa would give no numbers."""
        interval = bootstrap_interval([0.9] * 5 + [0.9 + 1e-16])
        assert (interval.low, interval.high) == pytest.approx((0.9, 0.9))

    @pytest.mark.parametrize(("interval", "values"), [(t_interval, [0.9]), (bootstrap_interval, [0.9, 0.8, 0.7, 0.6])])
    def test_too_few_values_are_told(self, interval, values):
        with pytest.raises(DataError, match=f"there are {len(values)}"):
            interval(values)

    @pytest.mark.parametrize("interval", [t_interval, bootstrap_interval])
    def test_absent_cases_are_not_swallowed(self, interval):
        with pytest.raises(DataError, match="no numbers"):
            interval([0.9, np.nan, 0.8, 0.7, 0.6, 0.5])

    @pytest.mark.parametrize("level", [0, 1, 95])
    def test_a_level_is_a_share(self, level):
        with pytest.raises(ConfigError, match="level"):
            t_interval([1, 2, 3], level)


class TestSummary:
    def test_by_hand(self):
        summary = summarise(scores(a=[[0.8, 0.6, 1.0], [0.6, 0.8, 1.0], [0.7, 0.4, 1.0]]), "a", 0.90, "t")
        assert summary.mean == pytest.approx((0.8 + 0.8 + 0.7) / 3)
        assert summary.std_seeds == pytest.approx(np.sqrt(1 / 300))  # of 0.8, 0.8, 0.7
        assert summary.std_cases == pytest.approx(np.std([0.7, 0.6, 1.0], ddof=1))
        assert (summary.seeds, summary.cases, summary.absent) == (3, 3, 0)
        assert summary.over_cases.half == pytest.approx(t_interval([0.7, 0.6, 1.0], 0.90).half)
        assert summary.over_seeds.half == pytest.approx(2.919986 * np.sqrt(1 / 300) / np.sqrt(3), rel=1e-5)

    def test_absent_cases_are_in_no_mean(self):
        summary = summarise(scores(a=[[0.8, np.nan, 0.6], [0.6, np.nan, np.nan]]), "a", how="t")
        assert summary.mean == pytest.approx((0.7 + 0.6) / 2)
        assert summary.std_cases == pytest.approx(np.std([0.7, 0.6], ddof=1))
        assert (summary.cases, summary.absent) == (2, 1)

    def test_one_run_has_no_deviation_over_seeds(self):
        summary = summarise(scores(a=[0.8, 0.6, 0.7, 0.9]), "a")
        assert summary.std_seeds is None and summary.over_seeds is None
        assert summary.over_cases is None  # four cases are too few for a bootstrap

    def test_one_case_has_no_deviation_over_cases(self):
        summary = summarise(scores(a=[[0.8], [0.6]]), "a", how="t")
        assert summary.std_cases is None and summary.over_cases is None and summary.std_seeds is not None

    def test_an_unknown_method_is_told(self):
        with pytest.raises(ConfigError, match="did you mean 'ua-mt'"):
            summarise(scores(ua_mt=[0.8, 0.6]), "uamt")


class TestSignedRanks:
    def test_hollander_and_wolfe(self):
        p, balance = signed_rank_test(BEFORE - AFTER)
        assert p == pytest.approx(0.03906, abs=5e-6)  # twice R's one-sided 0.01953
        assert balance == 40 - 5  # R's V = 40 of 45

    def test_exact_p_is_the_enumerated_one(self):
        differences = np.array([0.3, -0.1, 0.7, 0.2, 0.9, -0.4, 0.8])
        ranks = stats.rankdata(abs(differences))
        sums = [abs(np.dot(ranks, signs)) for signs in product((-1, 1), repeat=7)]
        p, balance = signed_rank_test(differences)
        assert p == pytest.approx(np.mean([total >= abs(balance) for total in sums]))

    def test_six_cases_can_just_be_significant(self):
        assert signed_rank_test([1, 2, 3, 4, 5, 6])[0] == pytest.approx(2 / 2**6)

    def test_equal_scores_are_no_difference(self):
        assert signed_rank_test([0.0] * 8) == (1.0, 0.0)

    def test_rounding_makes_no_differences_and_breaks_no_ties(self):
        assert signed_rank_test(np.array([0.3 - 0.1 - 0.2] * 8)) == (1.0, 0.0)
        _, balance = signed_rank_test([0.3 - 0.2, -(0.2 - 0.1), 0.5, 0.6, 0.7, 0.8])
        assert balance == 3 + 4 + 5 + 6  # 1.5 and -1.5 cancel


class TestHolm:
    @pytest.mark.parametrize(
        ("raw", "adjusted"),
        [
            ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # R: p.adjust(p, "holm")
            ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),
            ([0.5, 0.9], [1.0, 1.0]),
            ([0.02], [0.02]),
            ([], []),
        ],
    )
    def test_known_values(self, raw, adjusted):
        assert holm(raw) == pytest.approx(adjusted)


class TestComparisons:
    def test_against_a_baseline(self):
        base = np.linspace(0.6, 0.8, 20)
        table = scores(supervised=base, better=base + 0.05 + 0.001 * NOISE, same=base + 0.01 * NOISE)
        better, same = compare(table, "supervised")
        assert (better.first, better.second, better.pairs, better.dropped) == ("better", "supervised", 20, 0)
        assert better.difference == pytest.approx(0.05 + 0.001 * NOISE.mean())
        assert better.p == pytest.approx(2 / 2**20) and better.adjusted == pytest.approx(4 / 2**20)
        assert same.adjusted == same.p == pytest.approx(stats.wilcoxon(0.01 * NOISE).pvalue)
        assert better.winner(True) == "better" and better.winner(False) is None and same.winner(True) is None
        worse, _ = compare(table, "better")
        assert worse.winner(True) == "better"

    def test_lower_distances_are_better(self):
        base = np.linspace(5, 9, 20)
        (found,) = compare(scores("hd95", near=base - 1 + 0.1 * NOISE, far=base), "far")
        assert found.winner(False) == "near" and found.towards == 1

    def test_seeds_are_averaged_before_cases_are_counted(self):
        base = np.linspace(0.6, 0.8, 8)
        many = np.tile(base + 0.05, (10, 1))
        (found,) = compare(scores(a=many, b=base), "b")
        assert found.pairs == 8 and found.p == pytest.approx(2 / 2**8)

    def test_cases_that_either_lacks_are_dropped_and_counted(self):
        first, second = np.linspace(0.7, 0.9, 10), np.linspace(0.6, 0.8, 10)
        first[0], second[1] = np.nan, np.nan
        (found,) = compare(scores(a=first, b=second), "b")
        assert (found.pairs, found.dropped) == (8, 2)

    def test_all_pairs_are_corrected_together(self):
        base = np.linspace(0.6, 0.8, 20)
        found = compare_all(scores(a=base, b=base + 0.1, c=base + 0.2))
        assert [(c.first, c.second) for c in found] == [("a", "b"), ("a", "c"), ("b", "c")]
        assert [c.adjusted for c in found] == pytest.approx(holm([c.p for c in found]))
        assert found[0].adjusted == pytest.approx(3 * found[0].p)

    def test_mean_and_ranks_that_disagree_have_no_winner(self):
        """A little better on nineteen cases and lost on one: ranks say better, the mean says worse."""
        differences = np.full(20, 0.01) + 0.0001 * np.arange(20)
        differences[0] = -0.9
        (found,) = compare(scores(a=0.9 + differences / 10, b=np.full(20, 0.9)), "b")
        assert found.adjusted < 0.05 and found.towards == 1 and found.difference < 0
        assert found.winner(True) is None

    def test_too_few_common_cases_are_told(self):
        first = [0.9, 0.8, np.nan, 0.7, 0.6, 0.5]
        with pytest.raises(DataError, match="a and b have 5 cases in common"):
            compare(scores(a=first, b=[0.5] * 6), "b")

    def test_an_unknown_baseline_is_told(self):
        with pytest.raises(ConfigError, match="a method 'supervised'"):
            compare(scores(a=[0.5] * 6), "supervised")


class TestBold:
    base = np.linspace(0.6, 0.8, 20)

    def test_a_clear_winner(self):
        assert may_be_bold(scores(a=self.base, b=self.base + 0.1, c=self.base + 0.02)) == {"b"}

    def test_the_best_that_cannot_be_told_apart_are_bold_together(self):
        near = self.base + 0.1 + 0.01 * (NOISE - NOISE.mean()) + 0.0001
        assert may_be_bold(scores(a=self.base, b=self.base + 0.1, c=near)) == {"b", "c"}

    def test_nothing_is_bold_on_noise(self):
        assert may_be_bold(scores(a=self.base, b=self.base + 0.01 * NOISE)) == frozenset()

    def test_bold_by_chance_is_rare(self):
        """Three methods that differ by noise alone, a hundred times: bold in no more than alpha of them."""
        rng = np.random.default_rng(0)
        tables = [scores(**{name: self.base + rng.normal(0, 0.02, 20) for name in "abc"}) for _ in range(100)]
        assert sum(bool(may_be_bold(table)) for table in tables) <= 5

    def test_the_best_mean_alone_is_no_reason(self):
        """One lucky case makes the mean; the other cases say nothing."""
        lucky = self.base + 0.001 * NOISE
        lucky[0] = 1.0
        table = scores(a=self.base, b=lucky)
        assert table.by_seed("b") > table.by_seed("a") and may_be_bold(table) == frozenset()

    def test_no_line_between_methods_that_run_into_each_other(self):
        """a < b < c with a clear difference of a and c only: b is like both, so nothing may be bold."""
        step = 0.004
        noise = [0.012 * np.roll(NOISE, shift) for shift in (0, 7, 13)]
        a, b, c = (self.base + step * level + noise[level] - noise[level].mean() for level in range(3))
        table = scores(a=a, b=b, c=c + 0.004)
        won = {(f.first, f.second): f.winner(True) for f in compare_all(table)}
        assert won == {("a", "b"): None, ("a", "c"): "c", ("b", "c"): None}
        assert may_be_bold(table) == frozenset()

    def test_the_smallest_distance(self):
        assert may_be_bold(scores("hd95", a=self.base, b=self.base - 0.1)) == {"b"}

    def test_alpha_decides(self):
        eight = np.linspace(0.6, 0.8, 8)
        table = scores(a=eight, b=eight + 0.1)
        assert may_be_bold(table, 0.01) == {"b"} and may_be_bold(table, 0.005) == frozenset()

    def test_nothing_is_bold_with_few_cases_or_one_method(self):
        assert may_be_bold(scores(a=[0.1] * 5, b=[0.9] * 5)) == frozenset()
        assert may_be_bold(scores(a=self.base)) == frozenset()


class TestCaseScores:
    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ({}, "no method"),
            ({"a": np.ones((2, 3))}, "shape"),
            ({"a": np.ones(2)}, "shape"),
            ({"a": np.ones((0, 2))}, "shape"),
            ({"a": np.array([[1.0, np.inf]])}, "infinite"),
            ({"a": np.array([[1.0, 1.0], [np.nan, np.nan]])}, "no dice of any case"),
        ],
    )
    def test_what_does_not_fit_is_told(self, values, complaint):
        with pytest.raises(DataError, match=complaint):
            CaseScores("dice", values, ("one", "two"))
