"""``fewmask demo``: the whole way on synthetic scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, say, say_next
from fewmask.cli.progress import TrainingBar


def demo(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder to write: a new one, or that of the same demo, which goes on.",
        ),
    ] = Path("fewmask-demo"),
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Random seed of the scans, the networks and the patches.")
    ] = 0,
    iterations: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Training steps of each method. Default: those of the demo's recipe."),
    ] = None,
) -> None:
    """See fewmask work on synthetic scans, minutes on a laptop.

    Trains with and without the unlabelled scans, compares the two on test scans and writes a report.
    """
    from fewmask.demo import run_demo

    result = run_demo(output, seed=seed, iterations=iterations, say=say, listener=TrainingBar)
    console().print(result.table)
    say(result.verdict)
    say(f"report: {result.report}")
    say_next("fewmask", "check", "YOUR_DATASET")
