"""Which curves the report shows, in which order and under which names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fewmask.report.data import Run
from fewmask.report.figures import curve_plot

TITLES = {  # in the order of the page; what is not listed comes before the second network
    "val_dice": "Validation Dice, %",
    "loss": "Total loss",
    "ce": "Cross-entropy, labelled",
    "dice_loss": "Dice loss, labelled",
    "consistency": "Consistency loss, unlabelled",
    "consistency_weight": "Weight of the consistency loss",
    "cross": "Pseudo-label loss, unlabelled",
    "cross_weight": "Weight of the pseudo-label loss",
    "certain": "Voxels the teacher is sure of, %",
    "agreement": "Voxels where both networks agree, %",
    "pseudo_foreground": "Foreground in the pseudo-labels, %",
    "ce_second": "Cross-entropy, second network",
    "dice_loss_second": "Dice loss, second network",
    "lr": "Learning rate",
}
PER_CENT = ("val_dice", "agreement", "pseudo_foreground", "certain")
AT_ONCE = 9  # further curves are folded away


@dataclass(frozen=True)
class Panel:
    """One small plot and its title."""

    title: str
    figure: Markup


def training_panels(runs: Sequence[Run], name: str = "curve") -> list[Panel]:
    """A panel for every column that any run logged, in the order of `TITLES`; ``name`` opens the ids in the figures."""
    columns = sorted({column: None for run in runs for column in run.curves}, key=_rank)
    return [
        Panel(
            title(column),
            curve_plot(
                runs,
                column,
                scale=100 if column in PER_CENT else 1,
                smooth=column not in ("val_dice", "lr") and not column.endswith("_weight"),
                name=f"{name}{number}",
                label=f"{title(column)} over the iterations",
            ),
        )
        for number, column in enumerate(columns)
    ]


def title(column: str) -> str:
    """A column's name in words; ``turn/name`` is a number of one of several turns of a step."""
    turn, _, name = column.rpartition("/")
    words = TITLES.get(name, name.replace("_", " ").capitalize())
    return f"{words} ({turn})" if turn else words


def _rank(column: str) -> float:
    """Sorting is stable, so that unlisted columns keep the order of the log."""
    name = column.rpartition("/")[2]
    order = list(TITLES)
    return order.index(name) if name in order else order.index("ce_second") - 0.5
