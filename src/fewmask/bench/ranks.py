"""Ranking several methods over many cases or data sets: average ranks, Friedman's test, Nemenyi's critical difference.

As Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewmask.bench.case_scores import CaseScores
from fewmask.errors import ConfigError, DataError

FEWEST_BLOCKS = 6


@dataclass(frozen=True)
class Ranking:
    """Methods by their average rank.

    Attributes:
        methods: the best first.
        average: their ranks averaged over blocks; 1 is best, equal values share the mean of their ranks.
        blocks: cases (or data sets) in which every method has a value.
        dropped: those in which one lacks it.
        statistic: Friedman's chi-square, corrected for ties.
        p: that all methods are alike.
        critical_difference: average ranks that differ by more are different at ``alpha`` (Nemenyi).
        alpha: the level of it.
    """

    methods: tuple[str, ...]
    average: tuple[float, ...]
    blocks: int
    dropped: int
    statistic: float
    p: float
    critical_difference: float
    alpha: float

    def groups(self) -> list[tuple[str, ...]]:
        """The bars of a critical-difference diagram: the longest runs of methods that cannot be told apart, two or more each.

        Where Friedman's test finds no difference at all, one bar joins all methods.
        """
        count = len(self.methods)
        if self.p >= self.alpha:
            return [self.methods]
        reach = [
            max(
                end
                for end in range(start, count)
                if self.average[end] - self.average[start] <= self.critical_difference
            )
            for start in range(count)
        ]
        return [
            self.methods[start : end + 1]
            for start, end in enumerate(reach)
            if end > start and (start == 0 or reach[start - 1] < end)
        ]


def rank_methods(scores: CaseScores, alpha: float = 0.05) -> Ranking:
    """Rank methods on every case, averaged over the seeds that all of them have.

    Raises:
        DataError: there are fewer than three methods or six cases that all methods have, or no such seed.
        ConfigError: alpha is not between 0 and 1.
    """
    scores = scores.on_common_seeds(*scores.methods)
    table = np.stack([scores.by_case(method) for method in scores.methods], axis=1)
    return rank_table(table, scores.methods, scores.higher_is_better, alpha)


def rank_table(values: Any, methods: Sequence[str], higher_is_better: bool = True, alpha: float = 0.05) -> Ranking:
    """Rank the columns of a table within its rows.

    Args:
        values: ``(blocks, methods)``; rows with a NaN are left out and counted.
        methods: the columns' names.
        higher_is_better: which value has rank 1.
        alpha: level of the critical difference.

    Raises:
        DataError: there are fewer than three methods or six whole rows.
        ConfigError: alpha is not between 0 and 1.
    """
    from scipy import stats

    table = np.asarray(values, dtype=np.float64)
    whole = table[~np.isnan(table).any(axis=1)]
    blocks, count = whole.shape
    if count < 3:
        raise DataError(f"a ranking needs three methods or more, there are {count}; compare two by a paired test")
    if blocks < FEWEST_BLOCKS:
        raise DataError(f"a ranking needs {FEWEST_BLOCKS} cases that all methods have, there are {blocks}; score more")
    ranks = stats.rankdata(-whole if higher_is_better else whole, axis=1)
    if (ranks == ranks[:, :1]).all():  # every row is one tie, for which the statistic is not defined
        statistic, p = 0.0, 1.0
    else:
        statistic, p = map(float, stats.friedmanchisquare(*ranks.T))
    average = ranks.mean(axis=0)
    order = np.argsort(average, kind="stable")
    return Ranking(
        tuple(methods[index] for index in order),
        tuple(float(average[index]) for index in order),
        blocks,
        len(table) - blocks,
        statistic,
        p,
        critical_difference(count, blocks, alpha),
        alpha,
    )


def critical_difference(methods: int, blocks: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of two average ranks, q(alpha) sqrt(k (k + 1) / (6 N)).

    Raises:
        ConfigError: alpha is not between 0 and 1.
    """
    from scipy import stats

    if not 0 < alpha < 1:
        raise ConfigError(f"alpha is {alpha}; give a level between 0 and 1, such as 0.05")
    quantile = float(stats.studentized_range.ppf(1 - alpha, methods, np.inf)) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * blocks)))
