"""Where a run's numbers go: what a logger is, and the csv file that every run has; `fewmask.engine.trackers` has the others."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from fewmask.errors import RunError
from fewmask.files import append_text, write_text
from fewmask.places import refuse_special


class Logger(Protocol):
    """Takes rows of named numbers."""

    def log(self, iteration: int, values: Mapping[str, float | str]) -> None:
        """One row."""

    def finish(self, scores: Mapping[str, float]) -> None:
        """The training is done; its last scores."""

    def close(self) -> None:
        """Flush and release."""


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv as text, as far as they are whole; empty where there is no file.

    Raises:
        RunError: it is no table at all.
    """
    if not path.exists():
        return []
    try:
        refuse_special(path)
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a last line without an end may have lost digits
        rows = list(csv.DictReader(io.StringIO(whole)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path} is no table of text ({error}): restore it, or delete it and lose the curves") from None
    return [row for row in rows if (row.get("iteration") or "").isdigit() and None not in row.values()]


def read_all_metrics(path: Path, row: int) -> list[dict[str, str]]:
    """The rows of a metrics.csv that, if it is there, was not cut short.

    Args:
        path: the file.
        row: the iteration of the last row that the last checkpoint knows of.

    Raises:
        RunError: it is no table at all, or its rows end before that one.
    """
    rows = read_metrics(path)
    last = max((int(one["iteration"]) for one in rows), default=0)
    if path.exists() and path.stat().st_size and last < row:  # an empty file is none
        raise RunError(
            f"{path} was cut short: its rows end with iteration {last}, but the last checkpoint knows of one of {row}; restore it, or "
            "delete it and lose the curves"
        )
    return rows


class CsvLogger:
    """Rows of ``metrics.csv``; a column that first appears later is added, and earlier rows leave it empty.

    Args:
        path: the file.
        after: the iteration of the checkpoint that the run continues from; later rows are dropped, because they will come again.
    """

    def __init__(self, path: Path, after: int = 0) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = [row for row in read_metrics(path) if int(row["iteration"]) <= after]
        self.columns = list(self.rows[0]) if self.rows else ["iteration"]
        self._rewrite()

    def log(self, iteration: int, values: Mapping[str, float | str]) -> None:
        """Append one row; numbers keep six significant digits."""
        row = {"iteration": str(iteration)}
        row |= {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in values.items()}
        self.rows.append(row)
        if set(row) <= set(self.columns):
            text = io.StringIO()
            csv.DictWriter(text, self.columns, lineterminator="\n").writerow(row)
            append_text(self.path, text.getvalue())
            return
        self.columns += [key for key in row if key not in self.columns]
        self._rewrite()

    def finish(self, scores: Mapping[str, float]) -> None:
        """Nothing to add: the rows have them."""

    def close(self) -> None:
        """Nothing is held open."""

    def _rewrite(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())
