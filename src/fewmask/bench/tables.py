"""Ours beside theirs: a paper's table with our own scores, the differences, and everything that makes them less than comparable."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fewmask.bench import grid
from fewmask.bench.case_scores import CaseScores
from fewmask.bench.differences import differences
from fewmask.bench.grid import Cell, Grid
from fewmask.bench.published import Doubt, Figure, Paper, Result, Table, find_published, read_published
from fewmask.bench.statistics import Summary, may_be_bold, summarise
from fewmask.errors import ConfigError
from fewmask.metrics.score import DISTANCES
from fewmask.metrics.words import PLAIN, is_share, metric_title, number
from fewmask.words import count

MARKS = {"impossible": "†", "doubtful": "?"}
NOTHING = "–"
SPREADS = {
    "none": "the paper prints no spread",
    "ci90": "the paper's ± is half a 90 % confidence interval of the mean over runs",
    "undefined": "the paper does not say what its ± is",
}


@dataclass(frozen=True)
class Entry:
    """One metric of one method on both sides.

    Attributes:
        ours: None where it was not run.
        bold: whether ours may be bold among ours.
        theirs: None where it was not published.
        comparable: False where the two are not the same quantity.
    """

    ours: Summary | None
    bold: bool
    theirs: Figure | None
    comparable: bool = True

    @property
    def difference(self) -> float | None:
        """Ours minus theirs; None where one is missing, the printed figure is impossible or they are not the same quantity."""
        if self.ours is None or self.theirs is None or not self.comparable:
            return None
        if any(doubt.kind == "impossible" for doubt in self.theirs.doubts):
            return None
        return self.ours.mean - self.theirs.mean


@dataclass(frozen=True)
class SideBySide:
    """A table of a paper with ours beside it.

    Attributes:
        paper: whose table it is.
        title: which table, data set and number of labels.
        metrics: the columns.
        entries: method to metric to both sides; the paper's methods first.
        notes: what a reader must know, one sentence each, without the full stop.
    """

    paper: Paper
    title: str
    metrics: tuple[str, ...]
    entries: Mapping[str, Mapping[str, Entry]]
    notes: tuple[str, ...]


def beside(
    ours: Mapping[str, CaseScores],
    paper: str,
    dataset: str,
    labelled: int | str,
    *,
    subset: str | None = None,
    protocol: str | None = None,
    alpha: float = 0.05,
) -> SideBySide:
    """Put scores of one setting beside a paper's.

    Args:
        ours: by metric; those that the paper does not have are left out.
        paper: by its name in ``published/``.
        dataset: by its name in `fewmask.data.protocols`.
        labelled: how many, or the paper's share of them.
        subset: of the data set's test images, where the paper has several.
        protocol: of our runs; None: as their splits say.
        alpha: level of the tests that bold figures pass.

    Raises:
        ConfigError: the paper has no comparison at that data set and number of labels, or several; or it shares no metric with ours.
    """
    results = find_published(dataset, None, labelled, subset=subset, paper=paper)
    tables = list({id(result.table): result.table for result in results}.values())
    if len(tables) != 1:
        raise ConfigError(_which(tables, paper, dataset, labelled))
    return put_beside(ours, results, protocol=protocol, alpha=alpha)


def put_beside(
    ours: Mapping[str, CaseScores],
    results: Sequence[Result],
    *,
    names: Mapping[str, str] | None = None,
    protocol: str | None = None,
    recorded: bool | None = None,
    remarks: Sequence[str] = (),
    heading: str = "",
    alpha: float = 0.05,
) -> SideBySide:
    """`beside` for the rows of one table.

    Args:
        ours: by metric.
        results: of one table.
        names: our methods by the table's rows, where they are called otherwise than `Result.method`.
        protocol: of our runs; None: as their splits say.
        recorded: whether it is known which shortcuts our data take; None: where a protocol or a shortcut says so.
        remarks: more notes.
        heading: of our runs, for the title.
        alpha: level of the tests that bold figures pass.

    Raises:
        ConfigError: the table shares no metric with ours.
    """
    table, paper = results[0].table, results[0].paper
    metrics = tuple(metric for metric in table.metrics if metric in ours)
    if not metrics:
        raise ConfigError(
            f"{paper.name}: prints {', '.join(table.metrics)}, of which nothing was scored here; give one of them"
        )
    theirs = {(names or {}).get(result.row, result.method): result for result in results}
    methods = dict.fromkeys((*theirs, *(name for metric in metrics for name in ours[metric].methods)))
    bold = {metric: may_be_bold(ours[metric], alpha) for metric in metrics}
    entries = {
        name: {metric: _entry(ours[metric], metric, name, theirs.get(name), bold[metric]) for metric in metrics}
        for name in methods
    }
    subset = f", {table.subset}" if table.subset else ""
    amount = f"{table.labelled} labelled ({table.share})" if table.labelled else f"{table.share} labelled"
    title = f"{paper.name}, {table.source}: {table.dataset}{subset}, {amount}" + (
        f"; ours: {heading}" if heading else ""
    )
    scores = ours[metrics[0]]
    follows = protocol or (scores.setting.protocol if scores.setting else "")
    known = bool(follows or scores.shortcuts) if recorded is None else recorded
    notes = (
        *_meaning(scores, paper, alpha),
        *differences(scores, table, follows, known),
        *remarks,
        *_doubts(theirs, metrics),
    )
    return SideBySide(paper, title, metrics, entries, notes)


def _which(tables: list[Table], paper: str, dataset: str, labelled: int | str) -> str:
    if tables:
        subsets = ", ".join(str(table.subset) for table in tables)
        return f"{paper} has {len(tables)} tables of {dataset} with {labelled} labelled; choose a subset: {subsets}"
    known = {
        str(table.labelled or table.share)
        for table in read_published(paper).tables
        if table.dataset == dataset and table.kind == "comparison"
    }
    there = f"it has {', '.join(sorted(known))}" if known else "it has nothing of that data set"
    return f"{paper} has no comparison on {dataset} with {labelled} labelled: {there}"


def _entry(scores: CaseScores, metric: str, method: str, result: Result | None, bold: frozenset[str]) -> Entry:
    return Entry(
        summarise(scores, method) if method in scores.methods else None,
        method in bold,
        result.figures[metric] if result else None,
        is_share(metric) or (metric in DISTANCES and scores.unit in PLAIN),
    )


def _meaning(scores: CaseScores, paper: Paper, alpha: float) -> tuple[str, str]:
    """What both sides' figures are."""
    counts = [len(values) for values in scores.values.values()]
    seeds = count(max(counts), "seed") if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} seeds"
    return (
        f"ours: mean ± standard deviation over {seeds}, {count(len(scores.cases), 'case')}; {SPREADS[paper.spread]}",
        f"bold: significantly better than all that is not bold (Wilcoxon over cases, Holm, {alpha:g}), among ours alone",
    )


def _doubts(theirs: Mapping[str, Result], metrics: tuple[str, ...]) -> list[str]:
    found: dict[str, Doubt] = {}
    for method, result in theirs.items():
        for doubt in (doubt for metric in metrics for doubt in result.figures[metric].doubts):
            found[f"{MARKS[doubt.kind]} {method}: {doubt.why}"] = doubt
    return list(found)


def signed(value: float | None, metric: str, digits: int = 2) -> str:
    """A difference with its sign; overlaps in points."""
    if value is None:
        return NOTHING
    text = number(abs(value), metric, digits)
    sign = "" if float(text) == 0 else "+" if value > 0 else "−"
    return f"{sign}{text}"


def _ours(entry: Entry, metric: str) -> str:
    if entry.ours is None:
        return NOTHING
    spread = entry.ours.std_seeds
    return number(entry.ours.mean, metric, 2) + ("" if spread is None else f" ± {number(spread, metric, 2)}")


def _theirs(entry: Entry) -> str:
    if entry.theirs is None:
        return NOTHING
    marks = "".join(sorted({MARKS[doubt.kind] for doubt in entry.theirs.doubts}))
    return entry.theirs.printed.replace("±", " ± ") + (f" {marks}" if marks else "")


def _heads(table: SideBySide) -> list[str]:
    titles = [metric_title(metric) + (" %" if is_share(metric) else "") for metric in table.metrics]
    return ["method", *(f"{title} {side}" for title in titles for side in ("ours", "theirs", "difference"))]


def as_grid(table: SideBySide) -> Grid:
    """The table as text."""
    rows = []
    for method, entries in table.entries.items():
        row = [Cell(method)]
        for metric, entry in entries.items():
            row += [
                Cell(_ours(entry, metric), entry.bold),
                Cell(_theirs(entry)),
                Cell(signed(entry.difference, metric)),
            ]
        rows.append(tuple(row))
    return Grid(table.title, tuple(_heads(table)), tuple(rows), table.notes)


def to_markdown(table: SideBySide) -> str:
    """A heading, the table, and the notes as a list."""
    return grid.to_markdown(as_grid(table))


def to_latex(table: SideBySide) -> str:
    """A ``table`` environment that needs the package ``booktabs``; the notes stand under the table."""
    return grid.to_latex(as_grid(table))


def to_csv(table: SideBySide) -> str:
    """One row a method and metric with plain numbers: overlaps as shares, empty where there is none."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        (
            "method",
            "metric",
            "ours",
            "std_seeds",
            "std_cases",
            "seeds",
            "cases",
            "bold",
            "theirs",
            "spread",
            "difference",
            "doubts",
        )
    )
    for method, entries in table.entries.items():
        for metric, entry in entries.items():
            mine, printed = entry.ours, entry.theirs
            left = (mine.mean, mine.std_seeds, mine.std_cases, mine.seeds, mine.cases) if mine else (None,) * 5
            doubts = "; ".join(f"{doubt.kind}: {doubt.why}" for doubt in printed.doubts) if printed else ""
            right = (printed.mean, printed.spread) if printed else (None, None)
            rows.writerow((method, metric, *left, entry.bold, *right, entry.difference, doubts))
    return text.getvalue()
