"""``fewmask check``: everything that is wrong with a dataset folder, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, print_json, say, say_next
from fewmask.cli.options import DatasetArgument, GeometryOption, JsonOption, OverwriteOption
from fewmask.cli.progress import counting


def check(
    dataset: DatasetArgument,
    thumbnails: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write a PNG per case, with its label drawn on.")
    ] = None,
    geometry: GeometryOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find everything that is wrong with a dataset folder.

    Missing and damaged files, geometry, labels, duplicates, leakage: all findings at once. Exit code 1 where an error is
    among them.
    """
    from fewmask.data.check import check_dataset
    from fewmask.data.check.thumbnails import write_thumbnails

    with counting("checking", quiet=as_json) as progress:
        report = check_dataset(dataset, progress=progress, geometry=geometry or "header")
    if thumbnails:
        with counting("drawing", quiet=as_json) as progress:
            write_thumbnails(dataset, thumbnails, progress=progress, overwrite=overwrite)
    if as_json:
        print_json(report.to_dict())
    else:
        for table in report.tables():
            console().print(table)
        if thumbnails:
            say(f"thumbnails: {thumbnails / 'index.png'}")
    if not report.ok:
        raise typer.Exit(1)
    if not as_json:
        labelled = sum(row.group == "train" and row.volumes is not None for row in report.rows)
        say_next("fewmask", "split", dataset, *_budget(labelled))


def _budget(labelled: int) -> tuple[str, ...]:
    """An example that works with this many labels."""
    if labelled >= 10:
        return ("--labelled", "8", "--val", "2")
    return ("--labelled", str(max(labelled // 2, 1)))
