"""The tables of the report."""

from __future__ import annotations

from typing import Any

import numpy as np

from fewmask.bench.grid import Cell, Grid, cells
from fewmask.bench.report.content import PRIMARY, Section
from fewmask.bench.report.verdict import out_of_reach
from fewmask.bench.statistics import (
    Comparison,
    Interval,
    Summary,
    bootstrap_interval,
    may_be_bold,
    summarise,
    t_interval,
)
from fewmask.bench.tables import NOTHING, signed
from fewmask.data.protocols.shortcuts import stamp
from fewmask.errors import DataError
from fewmask.metrics.words import is_share, metric_title, number, p_number
from fewmask.run_folder import FREE, flatten
from fewmask.words import count, duration

LEVELS = (0.9, 0.95)
TESTED = ("dice", "hd95")


def score_grid(section: Section) -> Grid:
    """Means over seeds and cases, with deviations over seeds and intervals over cases; bold where it is earned."""
    unit = section.scores[PRIMARY].unit
    heads = ("method", *(metric_title(metric, unit) for metric in section.metrics), "seeds", "training")
    rows = []
    for label in section.labels:
        row = [Cell(label)]
        for metric in section.metrics:
            row.append(_score(section.summaries[metric][label], metric, label in section.bold[metric]))
        rows.append((*row, *cells((str(len(section.seeds[label])), duration(_seconds(section, label))))))
    absent = max(summary.absent for summary in section.summaries[PRIMARY].values())
    empty = f"; up to {count(absent, 'case')} in which nothing is and nothing was found left out" if absent else ""
    notes = (
        f"mean ± standard deviation over seeds; below it the {100 * section.level:g}\u00a0% interval of the mean, "
        f"by bootstrap over {count(section.cases, 'case')}{empty}",
        f"bold: significantly better than all that is not bold (Wilcoxon over cases, Holm over all pairs, {section.alpha:g}){_never_bold(section)}",
        *filter(None, [stamp(section.scores[PRIMARY].shortcuts)]),
    )
    return Grid(section.heading, heads, tuple(rows), notes)


def _never_bold(section: Section) -> str:
    """Why no figure can be bold, whatever the scores are; nothing where one can."""
    if any(section.bold[metric] for metric in section.metrics) or len(section.labels) < 2:
        return ""
    if not section.pairs[PRIMARY]:
        return "; nothing can be bold here, since no two methods have enough cases and a seed in common for a test"
    why = out_of_reach(section.pairs[PRIMARY], section.alpha, "pair")
    return f"; nothing can be bold here, since {why}" if why else ""


def _score(summary: Summary, metric: str, bold: bool) -> Cell:
    spread = "" if summary.std_seeds is None else f" ± {number(summary.std_seeds, metric)}"
    return Cell(number(summary.mean, metric) + spread, bold, _between(summary.over_cases, metric))


def _between(interval: Interval | None, metric: str) -> str:
    return f"{number(interval.low, metric)} to {number(interval.high, metric)}" if interval else ""


def _seconds(section: Section, label: str) -> float | None:
    """Mean seconds of a training."""
    known = [run.seconds for run in section.runs[label] if run.seconds is not None]
    return sum(known) / len(known) if known else None


def class_grid(section: Section) -> Grid | None:
    """Dice by class; None where there is only one."""
    if not section.by_class:
        return None
    bold = {name: may_be_bold(scores, section.alpha) for name, scores in section.by_class.items()}
    rows = tuple(
        (
            Cell(label),
            *(
                _score(summarise(scores, label, section.level), PRIMARY, label in bold[name])
                if label in scores.methods
                else Cell(NOTHING)
                for name, scores in section.by_class.items()
            ),
        )
        for label in section.labels
    )
    heads = ("method", *(f"{name}, Dice, %" for name in section.by_class))
    return Grid(f"{section.heading}: by class", heads, rows)


def comparison_grid(section: Section) -> Grid | None:
    """Every label against the baseline; None where there is nothing to test."""
    metrics = [metric for metric in TESTED if metric in section.scores and section.comparisons[metric]]
    if not metrics:
        return None
    unit = section.scores[PRIMARY].unit
    heads = ["method"]
    for metric in metrics:
        title = f"{metric_title(metric)}, {'points' if is_share(metric) else unit}"
        heads += [title, f"{metric_title(metric)} better in", "p, Holm"]
    rows = []
    for label in section.others:
        row = [Cell(label)]
        for metric in metrics:
            found = next((c for c in section.comparisons[metric] if c.first == label), None)
            row += (
                _test_cells(section, found, metric)
                if found
                else [Cell(NOTHING, small="no common seed"), Cell(NOTHING), Cell(NOTHING)]
            )
        rows.append(tuple(row))
    tests = section.comparisons[metrics[0]]
    dropped = max(c.dropped for metric in metrics for c in section.comparisons[metric])
    notes = [
        f"differences from {section.baseline}: means over cases and the seeds that both have; p: Wilcoxon’s signed-rank test over cases, "
        f"Holm’s correction for {count(len(tests), 'comparison')}",
        "better or worse stands where the corrected p is below the level and mean and ranks agree",
    ]
    if why := out_of_reach(tests, section.alpha):
        notes.append(f"nothing can be significant here: {why}")
    if dropped:
        notes.append(f"up to {count(dropped, 'case')} without a score on one side left out")
    return Grid(f"{section.heading}: against {section.baseline}", tuple(heads), tuple(rows), tuple(notes))


def _test_cells(section: Section, found: Comparison, metric: str) -> list[Cell]:
    higher = is_share(metric)
    word = {found.first: "better", found.second: "worse", None: "not significant"}[found.winner(higher, section.alpha)]
    cases, of_cases = section.cases_better(found.first, metric)
    seeds, of_seeds = section.seeds_better(found.first, metric)
    return [
        Cell(signed(found.difference, metric, 1 if higher else 2), small=word),
        Cell(
            f"{cases} of {count(of_cases, 'case')}", small=f"{seeds} of {count(of_seeds, 'seed')}" if of_seeds else ""
        ),
        Cell(p_number(found.adjusted)),
    ]


def interval_grid(section: Section, metric: str = PRIMARY) -> Grid:
    """Deviations and intervals of every kind."""
    heads = ["method", "mean", "std, seeds", "std, cases"]
    heads += [f"{100 * level:g} %, cases" for level in LEVELS] + [f"{100 * level:g} %, seeds" for level in LEVELS]
    rows = []
    for label in section.labels:
        summary = section.summaries[metric][label]
        row = [label, *(number(value, metric) for value in (summary.mean, summary.std_seeds, summary.std_cases))]
        rows.append(
            cells([*row, *(_between(interval, metric) or NOTHING for interval in intervals(section, label, metric))])
        )
    unit = "%" if is_share(metric) else section.scores[metric].unit
    notes = ("over cases: BCa bootstrap of the cases’ means over seeds; over seeds: Student’s t interval",)
    return Grid(f"{section.heading}: intervals of {metric_title(metric)}, {unit}", tuple(heads), tuple(rows), notes)


def intervals(section: Section, label: str, metric: str) -> list[Interval | None]:
    """Bootstrap over cases at each of `LEVELS`, then Student's over seeds."""
    scores = section.scores[metric]
    by_case = scores.by_case(label)
    samples: list[tuple[Any, Any]] = [
        (bootstrap_interval, by_case[~np.isnan(by_case)]),
        (t_interval, scores.by_seed(label)),
    ]
    found: list[Interval | None] = []
    for interval, sample in samples:
        for level in LEVELS:
            try:
                found.append(interval(sample, level))
            except DataError:
                found.append(None)
    return found


def setting_grid(section: Section) -> Grid | None:
    """Which settings of the config tell the labels apart; None where none does."""
    flat = {label: flatten(runs[0].experiment.model_dump(mode="json")) for label, runs in section.runs.items()}
    for values in flat.values():
        for key in ("train.seed", "method.name", *FREE):
            values.pop(key, None)
    rows = []
    for label in section.labels:
        method = section.runs[label][0].method
        alike = [other for other in section.labels if section.runs[other][0].method == method]
        odd = {
            key: value
            for key, value in flat[label].items()
            if len({repr(flat[other].get(key)) for other in (alike if key.startswith("method.") else section.labels)})
            > 1
        }
        rows.append(
            cells((label, method, "; ".join(f"{key}={value}" for key, value in sorted(odd.items())) or NOTHING))
        )
    if all(row[2].text == NOTHING for row in rows):
        return None
    return Grid(
        f"{section.heading}: settings that tell the runs apart, of the first seed",
        ("label", "method", "settings"),
        tuple(rows),
    )
