"""``fewmask report``: one self-contained HTML page of one or several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import say


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders of trainings.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="HTML file. Default: report.html in the first run."),
    ] = None,
) -> None:
    """Put curves, scores and pictures of runs on one HTML page."""
    from fewmask.report.html import write_report

    say(f"report: {write_report(runs, output or runs[0] / 'report.html')}")
