"""``fewmask check``: everything that is wrong with a dataset folder, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, print_json, say, say_next
from fewmask.cli.options import DatasetArgument, JsonOption
from fewmask.cli.progress import counting


def check(
    dataset: DatasetArgument,
    thumbnails: Annotated[
        Path | None, typer.Option(help="Also write a PNG per case, with its label drawn on, into this folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Report missing and damaged files, geometry, labels, duplicates, leakage: all findings at once.

    Exit code 1 where there is an error among them.
    """
    from fewmask.data.check import check_dataset
    from fewmask.data.thumbnails import write_thumbnails

    with counting("checking", quiet=as_json) as progress:
        report = check_dataset(dataset, progress=progress)
    if thumbnails:
        with counting("drawing", quiet=as_json) as progress:
            write_thumbnails(dataset, thumbnails, progress=progress)
    if as_json:
        print_json(report.to_dict())
    else:
        for table in report.tables():
            console().print(table)
        if thumbnails:
            say(f"thumbnails: {thumbnails / 'index.png'}")
    if any(finding.severity == "error" for finding in report.findings):
        raise typer.Exit(1)
    if not as_json:
        say_next("fewmask", "split", dataset, "--labelled", "8", "--val", "2")
