"""The page of a ranking: pictures of the scans to label first, and a table of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from markupsafe import Markup

from fewmask.data.dataset import Dataset
from fewmask.errors import DataError
from fewmask.files import write_text
from fewmask.inference.rank import Ranked, predicted
from fewmask.inference.select import By
from fewmask.report.case_views import look_at_predictions
from fewmask.report.html import template
from fewmask.report.pictures import draw_predictions

ORDERS: dict[By, str] = {
    "entropy": "The scans about which the model is least sure come first; near copies of each other may stand side by side.",
    "disagreement": "The scans on which the models differ most come first; near copies of each other may stand side by side.",
    "diversity": "Each next scan is the one that is least like all labelled ones and all before it, whether or not the model is sure.",
    "combined": "Each next scan has the largest product of doubt and novelty: the model is unsure of it, and no labelled scan and "
    "none before it in the list is much like it.",
}
MOST_ROWS = 2000


@dataclass(frozen=True)
class Card:
    """A scan with its picture; without one there is a reason."""

    row: Ranked
    drawing: Markup | None
    problem: str


def write_rank_page(
    output: Path,
    rows: Sequence[Ranked],
    dataset: Dataset,
    *,
    models: Sequence[str],
    by: By,
    keep: Path,
    top: int,
    known: int,
) -> None:
    """Write a page that needs no other file and no network.

    Args:
        output: the HTML file.
        rows: first the scan to label first.
        dataset: where the scans are.
        models: names of what predicted.
        by: what the order goes by.
        keep: the predicted label maps, see `fewmask.inference.rank.rank`.
        top: how many scans get a picture.
        known: how many scans are labelled already.

    Raises:
        WriteError: it cannot be written.
    """
    page = template("rank.html").render(
        title=f"What to label next in {dataset.name}",
        subtitle=ORDERS[by],
        by=by,
        models=models,
        cards=[_card(row, dataset, keep, len(models)) for row in rows[:top]],
        rows=rows[:MOST_ROWS],
        total=len(rows),
        known=known,
        flat=dataset.spatial_dims == 2,
        written=f"{datetime.now():%d %B %Y, %H:%M}",
    )
    write_text(output, page)


def _card(row: Ranked, dataset: Dataset, keep: Path, models: int) -> Card:
    label = f"{row.case}: {'prediction' if models == 1 else f'predictions of {models} models'}"
    try:
        view = look_at_predictions(dataset.read(row.case), predicted(keep, row.case))
    except (DataError, OSError) as error:
        return Card(row, None, str(error))
    return Card(row, draw_predictions(view, f"scan{row.rank}", label), "")
