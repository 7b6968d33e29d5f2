"""``fewmask rank``: which scan to label next."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fewmask.cli.console import console, print_json, say, say_next
from fewmask.cli.options import (
    CheckpointOption,
    ComponentOption,
    DatasetArgument,
    DeviceOption,
    FlipsOption,
    JsonOption,
    OverwriteOption,
    WeightingOption,
    open_predictor,
)
from fewmask.cli.progress import counting
from fewmask.temporary import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewmask.inference.rank import Ranked

SHOWN = 10


def rank(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run folders; the first one's split says who is labelled.")
    ],
    dataset: DatasetArgument,
    by: Annotated[
        Literal["entropy", "disagreement", "diversity", "combined"],
        typer.Option(help="What the order goes by; combined: doubt times novelty."),
    ] = "combined",
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Scans with a picture on the page.")] = 24,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="For rank.html, rank.csv, rank.json. Default: rank in the first run.",
        ),
    ] = None,
    checkpoint: CheckpointOption = None,
    flips: FlipsOption = None,
    largest_component: ComponentOption = None,
    gaussian: WeightingOption = None,
    device: DeviceOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Order the unlabelled scans by what a label would teach.

    entropy: how unsure the model is, in proportion to what it found. disagreement: how far the label maps of several runs
    lie apart, or of the networks of one. diversity: how unlike a scan is to the labelled ones and to those before it.
    """
    from fewmask.data.dataset import Dataset
    from fewmask.data.roles import roles_of
    from fewmask.files import make_folder
    from fewmask.inference.rank import check_rank, models_of, rank, write_rank
    from fewmask.report.data import run_names
    from fewmask.report.rank_page import write_rank_page
    from fewmask.run_folder import RunFolder

    split, data = RunFolder.open(runs[0]).split(), Dataset.open(dataset)
    models = [
        model
        for run, name in zip(runs, run_names(runs), strict=True)
        for model in models_of(
            name,
            open_predictor(
                run, checkpoint, device, flips=flips, largest_component=largest_component, gaussian=gaussian
            ),
        )
    ]
    folder, names = output or runs[0] / "rank", [model.name for model in models]
    facts = {"dataset": data.name, "by": by, "models": names, "labelled": list(roles_of(data, split).labelled)}
    if not overwrite:
        check_rank(folder, facts)
    make_folder(folder)
    with temporary_folder(folder) as maps:
        with counting("looking", quiet=as_json) as progress:
            rows, roles = rank(models, data, split, by, keep=maps, progress=progress)
        write_rank(folder, rows, facts, overwrite=overwrite)
        known = len(roles.labelled)
        write_rank_page(folder / "rank.html", rows, data, models=names, by=by, keep=maps, top=top, known=known)
    if as_json:
        print_json({**facts, "scans": [asdict(row) for row in rows]})
        return
    _print(rows)
    say(f"pictures: {folder / 'rank.html'}; all {len(rows)}: {folder / 'rank.csv'}")
    say_next("fewmask", "predict", runs[0], data.case(rows[0].case).images[0], folder / "to-correct")


def _print(rows: Sequence[Ranked]) -> None:
    """The first rows as a table."""
    from rich.table import Table

    table = Table(title="Label first")
    for heading in ("", "scan", "entropy", "disagreement", "novelty", "most like"):
        table.add_column(heading, justify="left" if heading in ("scan", "most like") else "right")
    for row in rows[:SHOWN]:
        differ = "–" if row.disagreement is None else f"{row.disagreement:.3f}"
        near = (f"{row.novelty:.3f}", row.nearest) if row.nearest else ("–", "–")
        table.add_row(str(row.rank), row.case, f"{row.entropy:.3f}", differ, *near)
    console().print(table)
