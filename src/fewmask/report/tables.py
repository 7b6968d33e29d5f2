"""The tables of the report: scores by class and run, and scores by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewmask.bench.case_scores import CaseScores
from fewmask.bench.statistics import may_be_bold
from fewmask.metrics.words import mean_and_spread, metric_title, number
from fewmask.report.data import Run
from fewmask.report.scores import COUNTS

LEFT_OUT = ("hd95_directed", "assd")  # second opinions on what HD95 and ASD say; they stay in summary.json
MOST_CASES = 200
ALL_CLASSES = "all classes"


@dataclass(frozen=True)
class Cell:
    """Mean and deviation as text; ``best``: significantly better than all runs that are not (`may_be_bold`)."""

    title: str
    mean: str
    spread: str
    best: bool


@dataclass(frozen=True)
class Row:
    """A run's (or, of a single run, a class's) line."""

    head: str
    run: Run
    cells: list[Cell]
    counts: dict[str, int]


@dataclass(frozen=True)
class Group:
    """Lines under one heading."""

    heading: str
    rows: list[Row]


def shown_metrics(runs: Sequence[Run]) -> list[str]:
    """The columns: metrics that any run has, without the second opinions."""
    found = {metric: None for run in runs if run.scores for metric in run.scores.metric_names}
    return [metric for metric in found if metric not in LEFT_OUT]


def comparable(runs: Sequence[Run]) -> bool:
    """Whether a best value means anything: several runs, scored on the same cases and in the same unit."""
    about = {(run.scores.unit, frozenset(run.scores.cases)) for run in runs if run.scores}
    return len(about) == 1 and sum(run.scores is not None for run in runs) > 1


def common_unit(runs: Sequence[Run]) -> str:
    """The unit of all distances, in a column's head."""
    units = {run.scores.unit for run in runs if run.scores}
    return units.pop() if len(units) == 1 else "unit of the run"


def score_groups(runs: Sequence[Run]) -> list[Group]:
    """A group a class with a row a run; of a single run, one group with a row a class."""
    scored = [run for run in runs if run.scores]
    classes = list({name: None for run in scored for name in (run.scores.classes if run.scores else ())})
    names = [*classes, *([ALL_CLASSES] if len(classes) > 1 else [])]
    groups = [Group(name, _rows(scored, name)) for name in names]
    if len(scored) == 1 and groups:
        return [
            Group("", [Row(group.heading, row.run, row.cells, row.counts) for group in groups for row in group.rows])
        ]
    return groups


def _rows(runs: Sequence[Run], class_name: str) -> list[Row]:
    entries = {run.index: entry for run in runs if (entry := _entry(run, class_name)) is not None}
    metrics, unit = shown_metrics(runs), common_unit(runs)
    best = {metric: _best(runs, class_name, metric) for metric in metrics} if comparable(runs) else {}
    rows = []
    for run in runs:
        if run.index not in entries:
            continue
        entry, cells = entries[run.index], []
        for metric in metrics:
            values = entry["metrics"].get(metric, {"mean": None, "std": None})
            mean, spread = mean_and_spread(values, metric)
            cells.append(Cell(metric_title(metric, unit), mean, spread, run.name in best.get(metric, ())))
        rows.append(Row(run.name, run, cells, {name: int(entry[name]) for name in ("n", *COUNTS)}))
    return rows


def _entry(run: Run, class_name: str) -> Mapping[str, Any] | None:
    if run.scores is None:
        return None
    return run.scores.overall if class_name == ALL_CLASSES else run.scores.classes.get(class_name)


def _best(runs: Sequence[Run], class_name: str, metric: str) -> frozenset[str]:
    """The runs whose mean may be bold."""
    one = None if class_name == ALL_CLASSES else class_name
    scores = {run.name: run.scores for run in runs if run.scores}
    cases = tuple(sorted({case for found in scores.values() for case in found.cases}))
    values = {name: np.array([[found.value(case, metric, one) for case in cases]]) for name, found in scores.items()}
    whole = {name: row for name, row in values.items() if not np.isnan(row).all()}
    return may_be_bold(CaseScores(metric, whole, cases)) if len(whole) == len(scores) else frozenset()


@dataclass(frozen=True)
class CaseRow:
    """A case, and per run its mean Dice over the classes as text and where any class was missed or spurious."""

    case: str
    dice: list[str]
    remarks: list[str]


def case_rows(runs: Sequence[Run]) -> tuple[list[CaseRow], int]:
    """Cases from the worst to the best of the first run that scored them; at most `MOST_CASES`, and how many there are."""
    scored = [run.scores for run in runs if run.scores]
    keys = {}
    for case in sorted({case for scores in scored for case in scores.cases}):
        values = [scores.case_mean(case) for scores in scored]
        keys[case] = next((value for value in values if value is not None), 2.0)
    order = sorted(keys, key=keys.__getitem__)
    rows = []
    for case in order[:MOST_CASES]:
        dice = [number(scores.case_mean(case), "dice") for scores in scored]
        odd = [
            ", ".join(
                f"{name} {score.status}" for name, score in scores.cases.get(case, {}).items() if score.status in COUNTS
            )
            for scores in scored
        ]
        rows.append(CaseRow(case, dice, odd))
    return rows, len(order)
