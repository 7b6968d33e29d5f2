"""The numbers of the report as csv files, for programs: overlaps as shares in [0, 1], empty where there is none."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fewmask.bench.report.content import Bench, Section
from fewmask.bench.report.grids import LEVELS, intervals
from fewmask.metrics.score import DISTANCES

Row = Sequence[object]
WHERE = ("setting", "dataset", "protocol", "labelled", "validation", "unlabelled")


def csv_files(bench: Bench) -> dict[str, str]:
    """Contents by file name."""
    return {
        "summary.csv": _table((*WHERE, *SUMMARY), _summaries(bench)),
        "cases.csv": _table((*WHERE, "method", "seed", "metric", "case", "value"), _cases(bench)),
        "tests.csv": _table((*WHERE, *TESTS), _tests(bench)),
    }


def _table(heads: Row, rows: Iterable[Row]) -> str:
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(heads)
    table.writerows(rows)
    return text.getvalue()


def _where(section: Section) -> tuple[object, ...]:
    setting = section.setting
    return (
        section.heading,
        setting.dataset,
        setting.protocol,
        setting.labelled,
        setting.validation,
        setting.unlabelled,
    )


BOUNDS = [f"{end}_{100 * level:g}_{over}" for over in ("cases", "seeds") for level in LEVELS for end in ("low", "high")]
SUMMARY = ("method", "metric", "unit", "mean", "std_seeds", "std_cases", "seeds", "cases", "absent", "bold", *BOUNDS)


def _summaries(bench: Bench) -> Iterator[Row]:
    for section in bench.sections:
        for metric, by_label in section.summaries.items():
            for label, found in by_label.items():
                bounds = [
                    end for i in intervals(section, label, metric) for end in ((i.low, i.high) if i else (None, None))
                ]
                numbers = (found.mean, found.std_seeds, found.std_cases, found.seeds, found.cases, found.absent)
                bold = label in section.bold[metric]
                unit = section.scores[metric].unit if metric in DISTANCES else ""
                yield (*_where(section), label, metric, unit, *numbers, bold, *bounds)


def _cases(bench: Bench) -> Iterator[Row]:
    for section in bench.sections:
        for metric, scores in section.scores.items():
            for label, values in scores.values.items():
                for seed, row in zip((scores.seeds or {})[label], values, strict=True):
                    for case, value in zip(scores.cases, row, strict=True):
                        yield (*_where(section), label, seed, metric, case, None if np.isnan(value) else float(value))


TESTS = ("metric", "against", "first", "second", "pairs", "dropped", "difference", "p", "p_holm", "winner")


def _tests(bench: Bench) -> Iterator[Row]:
    """Against the baseline, and all pairs, each corrected for itself."""
    for section in bench.sections:
        for metric, scores in section.scores.items():
            for against, found in (("baseline", section.comparisons[metric]), ("all", section.pairs[metric])):
                for c in found:
                    winner = c.winner(scores.higher_is_better, section.alpha)
                    numbers = (c.pairs, c.dropped, c.difference, c.p, c.adjusted)
                    yield (*_where(section), metric, against, c.first, c.second, *numbers, winner)
