"""The table of a pseudo-labelled data set: a row a scan that a model has labelled."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """How a scan was labelled.

    Attributes:
        case: its id.
        kept: whether it got a label.
        confidence: mean probability of the predicted class over the predicted foreground; none where nothing was found.
        foreground: voxels of the predicted foreground.
        ignored: share of all voxels that are ignored.
    """

    case: str
    kept: bool
    confidence: float | None
    foreground: int
    ignored: float


def table(rows: Iterable[Row]) -> str:
    """The text of a ``pseudo_labels.csv``."""
    return "case,kept,confidence,foreground,ignored\n" + lines(rows)


def lines(rows: Iterable[Row]) -> str:
    """Rows without the head."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        mean = "" if row.confidence is None else f"{row.confidence:.6f}"
        writer.writerow([row.case, "yes" if row.kept else "no", mean, row.foreground, f"{row.ignored:.6f}"])
    return text.getvalue()


def read_rows(path: Path) -> list[Row]:
    """The rows of a ``pseudo_labels.csv``, as far as they are whole; none where there is no file."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    return [
        Row(
            row["case"],
            row["kept"] == "yes",
            float(row["confidence"]) if row["confidence"] else None,
            int(row["foreground"]),
            float(row["ignored"]),
        )
        for row in rows
    ]
