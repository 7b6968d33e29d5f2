"""What a difference between methods is worth: spreads, intervals, paired tests, and which figure may be bold.

The unit of all tests is the case: a case's scores are first averaged over the seeds, because several runs on one case are not several
cases. So a test says whether a difference would hold on other cases of the kind, for runs like these; how much runs differ among
themselves is the deviation over seeds. Two methods are compared on the seeds that both have; where there is none, they are not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from fewmask.bench.case_scores import CaseScores, Floats
from fewmask.errors import ConfigError, DataError

FEWEST_PAIRS = 6
"""Below, no two-sided Wilcoxon test can come under 0.05: the least p-value of n pairs is 2 / 2^n."""
FEWEST_FOR_BOOTSTRAP = 5
ROUNDING = 12
"""Decimals behind which numbers count as equal: 0.3 - 0.2 and 0.2 - 0.1 are a tie."""

How = Literal["t", "bootstrap"]


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a mean."""

    low: float
    high: float
    level: float
    how: How

    @property
    def half(self) -> float:
        """Half its width, as papers write it after ±."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Summary:
    """A method's scores in short.

    Attributes:
        mean: over seeds of the mean over cases.
        std_seeds: sample standard deviation of the seeds' means; None with one seed.
        std_cases: the same of the cases' means over seeds; None with one case.
        seeds: how many.
        cases: how many have a score.
        absent: how many have none under any seed; they are in no mean.
        over_cases: interval of the mean, cases as the sample; None where there are too few.
        over_seeds: t interval, seeds as the sample; None with one seed.
    """

    mean: float
    std_seeds: float | None
    std_cases: float | None
    seeds: int
    cases: int
    absent: int
    over_cases: Interval | None
    over_seeds: Interval | None


def t_interval(values: Any, level: float = 0.95) -> Interval:
    """Student's interval of the mean, deviation with divisor n - 1.

    Raises:
        DataError: there are fewer than two values, or one is not a number.
        ConfigError: the level is not between 0 and 1.
    """
    from scipy import stats

    sample = _sample(values, 2, "a t interval", level)
    half = float(stats.t.ppf((1 + level) / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample)))
    mean = float(sample.mean())
    return Interval(mean - half, mean + half, level, "t")


def bootstrap_interval(values: Any, level: float = 0.95, resamples: int = 9999, seed: int = 0) -> Interval:
    """Bias-corrected and accelerated (BCa) bootstrap interval of the mean: follows the skew that Dice has near 1.

    Args:
        values: the sample.
        level: of confidence.
        resamples: how many are drawn.
        seed: the same one gives the same interval.

    Raises:
        DataError: there are fewer than five values, or one is not a number.
        ConfigError: the level is not between 0 and 1.
    """
    from scipy import stats

    sample = _sample(values, FEWEST_FOR_BOOTSTRAP, "a bootstrap interval", level)
    if np.ptp(np.round(sample, ROUNDING)) == 0:  # BCa is not defined
        return Interval(float(sample[0]), float(sample[0]), level, "bootstrap")
    found = stats.bootstrap(
        (sample,),
        np.mean,
        confidence_level=level,
        n_resamples=resamples,
        method="BCa",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high), level, "bootstrap")


def _sample(values: Any, fewest: int, what: str, level: float) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if not 0 < level < 1:
        raise ConfigError(f"the level of confidence is {level}; give one between 0 and 1, such as 0.95")
    if not np.isfinite(sample).all():
        raise DataError(f"{what} cannot be taken over values that are no numbers; leave absent cases out first")
    if sample.ndim != 1 or len(sample) < fewest:
        raise DataError(f"{what} needs at least {fewest} values, there are {sample.size}; score more cases or seeds")
    return sample


def summarise(scores: CaseScores, method: str, level: float = 0.95, how: How = "bootstrap") -> Summary:
    """Mean, spreads and intervals of a method; absent cases are left out and counted.

    Args:
        scores: of any number of methods.
        method: which.
        level: of the intervals.
        how: the interval over cases is made.

    Raises:
        ConfigError: there is no such method, or the level is not between 0 and 1.
    """
    seeds, all_cases = scores.by_seed(method), scores.by_case(method)
    cases = all_cases[~np.isnan(all_cases)]
    interval, fewest = (bootstrap_interval, FEWEST_FOR_BOOTSTRAP) if how == "bootstrap" else (t_interval, 2)
    return Summary(
        mean=float(seeds.mean()),
        std_seeds=deviation(seeds),
        std_cases=deviation(cases),
        seeds=len(seeds),
        cases=len(cases),
        absent=len(all_cases) - len(cases),
        over_cases=interval(cases, level) if len(cases) >= fewest else None,
        over_seeds=t_interval(seeds, level) if len(seeds) > 1 else None,
    )


def deviation(values: Floats) -> float | None:
    """The standard deviation of a sample; None for a single value."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same cases.

    Attributes:
        first: compared with ``second``.
        second: the baseline.
        pairs: cases with a score of both.
        dropped: cases without.
        difference: mean of first minus second.
        towards: who has the better ranks: 1 the first, -1 the second, 0 neither.
        p: two-sided, of Wilcoxon's signed-rank test without the pairs that are equal.
        adjusted: the same after Holm's correction for the comparisons made with it.
    """

    first: str
    second: str
    pairs: int
    dropped: int
    difference: float
    towards: int
    p: float
    adjusted: float

    def winner(self, higher_is_better: bool, alpha: float = 0.05) -> str | None:
        """Who is significantly better; None also where mean and ranks point to different sides."""
        sign = int(np.sign(self.difference)) * (1 if higher_is_better else -1)
        if self.adjusted >= alpha or sign == 0 or sign != self.towards:
            return None
        return self.first if sign > 0 else self.second


def compare(scores: CaseScores, baseline: str) -> list[Comparison]:
    """Every other method that shares a seed with the baseline against it, Holm-corrected over these comparisons.

    Raises:
        ConfigError: there is no such baseline.
        DataError: two methods have fewer than six cases in common.
    """
    scores.of(baseline)
    return _compare_pairs(scores, [(name, baseline) for name in scores.methods if name != baseline])


def compare_all(scores: CaseScores) -> list[Comparison]:
    """Every method against every other with which it shares a seed, Holm-corrected over all these pairs.

    Raises:
        DataError: two methods have fewer than six cases in common.
    """
    return _compare_pairs(scores, combinations(scores.methods, 2))


def least_p(comparisons: Sequence[Comparison]) -> float:
    """The smallest p-value that Holm's correction of these comparisons can leave: m of n pairs each end at m 2 / 2^n or above.

    Where it is not below the level, nothing can be significant, however the methods differ.
    """
    return min(1.0, len(comparisons) * 2.0 ** (1 - max((c.pairs for c in comparisons), default=0)))


def _compare_pairs(scores: CaseScores, pairs: Iterable[tuple[str, str]]) -> list[Comparison]:
    found = [_compare(scores, *pair) for pair in pairs if scores.common_seeds(*pair) != ()]
    return _corrected(found)


def _compare(scores: CaseScores, first: str, second: str) -> Comparison:
    scores = scores.on_common_seeds(first, second)
    differences = scores.by_case(first) - scores.by_case(second)
    known = differences[~np.isnan(differences)]
    if len(known) < FEWEST_PAIRS:
        raise DataError(
            f"{first} and {second} have {len(known)} cases in common; below {FEWEST_PAIRS} no test can find a difference, so score more"
        )
    p, balance = signed_rank_test(known)
    towards = int(np.sign(balance)) * (1 if scores.higher_is_better else -1)
    dropped = len(differences) - len(known)
    return Comparison(first, second, len(known), dropped, float(known.mean()), towards, p, p)


def signed_rank_test(differences: Any) -> tuple[float, float]:
    """Wilcoxon's signed-rank test of paired differences, zeros left out (Wilcoxon's own way and R's).

    Exact where scipy has the exact distribution (up to 50 pairs without ties), the normal approximation otherwise.

    Returns:
        The two-sided p-value, 1 where all differences are zero; and the sum of the signed ranks.
    """
    from scipy import stats

    rounded = np.round(np.asarray(differences, dtype=np.float64), ROUNDING)
    rounded = rounded[rounded != 0]
    if not len(rounded):
        return 1.0, 0.0
    balance = float((np.sign(rounded) * stats.rankdata(np.abs(rounded))).sum())
    return float(stats.wilcoxon(rounded, zero_method="wilcox", method="auto").pvalue), balance


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: each p-value times the number of those not smaller, never falling, at most 1."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _corrected(comparisons: list[Comparison]) -> list[Comparison]:
    adjusted = holm([comparison.p for comparison in comparisons])
    return [replace(comparison, adjusted=p) for comparison, p in zip(comparisons, adjusted, strict=True)]


def may_be_bold(scores: CaseScores, alpha: float = 0.05) -> frozenset[str]:
    """The methods whose figure may be bold: the fewest best ones that are all significantly better than all the others.

    So every difference between a bold and a plain figure is significant (Holm over all pairs), and where the best methods cannot be told
    apart they are bold together. None is where no such line can be drawn, or where too few cases or no seeds are in common for any test.
    """
    sign = -1 if scores.higher_is_better else 1
    order = sorted(scores.methods, key=lambda name: sign * float(scores.by_seed(name).mean()))
    try:
        comparisons = compare_all(scores)
    except DataError:
        return frozenset()
    won = {
        (winner, ({c.first, c.second} - {winner}).pop())
        for c in comparisons
        if (winner := c.winner(scores.higher_is_better, alpha))
    }
    for count in range(1, len(order)):
        if all((best, other) in won for best in order[:count] for other in order[count:]):
            return frozenset(order[:count])
    return frozenset()
