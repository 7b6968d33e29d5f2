"""The summary of an evaluation as a table for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from fewmask.data.protocols.shortcuts import stamp
from fewmask.metrics.words import UNITS, mean_and_spread, metric_title

if TYPE_CHECKING:
    from fewmask.metrics.evaluation import Evaluation

COUNTS = ("absent", "missed", "spurious")
# Up to this many columns of values the metrics stand as rows; beyond, the classes do.
MOST_COLUMNS = 4


def summary_table(evaluation: Evaluation) -> Table:
    """Mean ± standard deviation and the counts of every class, in 80 to 90 columns.

    Overlaps are in per cent, distances in the evaluation's unit; a dash stands where no case has the class.
    """
    summary = evaluation.summary()
    entries: dict[str, Any] = dict(summary["classes"])
    if len(entries) > 1:
        entries["all classes"] = summary["mean"]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    if len(entries) <= MOST_COLUMNS:
        _metrics_as_rows(table, entries, [metric_title(name, evaluation.unit) for name in evaluation.metric_names])
    else:
        table.title = f"Mean ± standard deviation over cases; overlaps in %, distances in {UNITS[evaluation.unit]}"
        _classes_as_rows(table, entries, [metric_title(name) for name in evaluation.metric_names])
    table.caption, table.caption_justify = stamp(evaluation.shortcuts), "left"
    return table


def _metrics_as_rows(table: Table, entries: dict[str, Any], titles: list[str]) -> None:
    table.add_column("mean ± std", no_wrap=True)
    for name in entries:
        table.add_column(name, justify="right")
    cells = [_values(entry, digits=2, separator=" ") for entry in entries.values()]
    for title, row in zip(titles, zip(*cells, strict=True), strict=True):
        table.add_row(title, *row)
    table.add_section()
    for count in ("n", *COUNTS):
        table.add_row(count, *(str(entry[count]) for entry in entries.values()))


def _classes_as_rows(table: Table, entries: dict[str, Any], titles: list[str]) -> None:
    """Narrow: the deviation under the mean, and three counts in one column."""
    table.add_column("")
    for title in titles:
        table.add_column(title.replace(" ", "\n").replace("@", "\n@"), justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("\n".join(COUNTS), justify="right", no_wrap=True)
    for name, entry in entries.items():
        counts = " / ".join(str(entry[count]) for count in COUNTS)
        table.add_row(name, *_values(entry, digits=1, separator="\n"), str(entry["n"]), counts)


def _values(entry: dict[str, Any], digits: int, separator: str) -> list[str]:
    """The cells of one class."""
    cells = (mean_and_spread(value, name, digits) for name, value in entry["metrics"].items())
    return [separator.join(cell).rstrip() for cell in cells]
