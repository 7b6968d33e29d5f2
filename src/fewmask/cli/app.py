"""The program and its verbs, in the order of the work."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fewmask import __version__
from fewmask.cli import (
    bench,
    check,
    convert,
    datasets,
    demo,
    doctor,
    evaluate,
    export,
    methods,
    networks,
    predict,
    pseudo_label,
    rank,
    report,
    split,
    train,
)
from fewmask.cli.console import STATE


class _InOrder(TyperGroup):
    """Verbs in the order of the work; typer puts verbs of verbs last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        names = super().list_commands(ctx)
        names.remove("bench")
        return [name for known in names for name in ((known, "bench") if known == "report" else (known,))]


app = typer.Typer(
    cls=_InOrder,
    help="Few masks, many scans: train medical-image segmentation from a handful of labelled scans and all the unlabelled ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("demo")(demo.demo)
app.command("convert")(convert.convert)
app.command("check")(check.check)
app.command("split")(split.split)
app.command("train")(train.train)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("rank")(rank.rank)
app.command("pseudo-label")(pseudo_label.pseudo_label)
app.command("report")(report.report)
app.add_typer(bench.app, name="bench")
app.command("export")(export.export)
app.command("methods")(methods.methods)
app.command("datasets")(datasets.datasets)
app.command("networks")(networks.networks)
app.command("doctor")(doctor.doctor)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _global_options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Before the command: show the full traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    STATE.debug = debug
    for library in ("nibabel.global", "tifffile"):  # they comment on odd files; the error says it in one sentence
        logging.getLogger(library).disabled = not debug
