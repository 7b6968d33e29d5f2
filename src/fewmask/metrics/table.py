"""The summary of an evaluation as a table for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from fewmask.metrics.score import DISTANCES

if TYPE_CHECKING:
    from fewmask.metrics.evaluation import Evaluation

COUNTS = ("absent", "missed", "spurious")
TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95": "HD95",
    "hd95_directed": "HD95 dir.",
    "asd": "ASD",
    "assd": "ASSD",
}
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
    titles = {name: TITLES.get(name, name.upper()) for name in evaluation.metric_names}
    if len(entries) <= MOST_COLUMNS:
        units = {name: evaluation.unit if name in DISTANCES else "%" for name in titles}
        _metrics_as_rows(table, entries, [f"{title} ({units[name]})" for name, title in titles.items()])
    else:
        table.title = f"Mean ± standard deviation over cases; overlaps in %, distances in {evaluation.unit}"
        _classes_as_rows(table, entries, list(titles.values()))
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
    cells = []
    for name, value in entry["metrics"].items():
        factor = 1 if name in DISTANCES else 100
        mean, std = value["mean"], value["std"]
        spread = "" if std is None else f"{separator}± {factor * std:.{digits}f}"
        cells.append("–" if mean is None else f"{factor * mean:.{digits}f}{spread}")
    return cells
