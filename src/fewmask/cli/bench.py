"""``fewmask bench``: methods against each other, as a suite has it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, print_json, say_next
from fewmask.cli.options import JsonOption

app = typer.Typer(no_args_is_help=True, help="Compare methods: run a suite, see how far it is, report it.")

SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="A YAML file, a shipped suite, or the output folder of a comparison.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Folder of the run folders. Default: bench/NAME, or SUITE if it is one.",
    ),
]


@app.command("suites")
def suites(as_json: JsonOption = False) -> None:
    """List the shipped suites."""
    from rich.table import Table

    from fewmask.bench.jobs import expand
    from fewmask.bench.suite import find_suite, suite_names

    known = [find_suite(name) for name in suite_names()]
    if as_json:
        print_json([suite.model_dump(mode="json") for suite in known])
        return
    table = Table("suite", "what it compares", "data", "runs")
    for suite in known:
        table.add_row(suite.name, suite.title, ", ".join(suite.data), str(len(expand(suite, Path()))))
    console().print(table)
    say_next("fewmask", "bench", "run", "smoke")
