"""``fewmask convert``: downloaded data sets to dataset folders."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewmask.cli.console import console, print_json, print_warning, say, say_next
from fewmask.cli.methods import settings
from fewmask.cli.options import GeometryOption, JsonOption, OverwriteOption, gather_changes
from fewmask.cli.progress import counting
from fewmask.errors import ConfigError

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice
    from fewmask.data.convert import Conversion, Converter


def convert(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The data set, or a kind of files such as dicom.")
    ] = None,
    raw: Annotated[
        Path | None, typer.Argument(metavar="RAW", help="The downloaded folder or archive. Nothing in it is changed.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Argument(metavar="DATASET", help="Dataset folder to write; one that was cut short goes on.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the converter. May be repeated."),
    ] = None,
    unpack: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where RAW is an archive: unpack it to this folder, and keep it. Default: a temporary one.",
        ),
    ] = None,
    geometry: GeometryOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset folder from a data set as it is downloaded.

    Without arguments: list what can be converted. With NAME alone: the folder that it expects, and its settings.
    """
    from fewmask.data.convert import CONVERTERS

    if name is None:
        _list(as_json)
    elif raw is None:
        _show(name, CONVERTERS[name], as_json)
    elif dataset is None:
        raise ConfigError(f"where to? write `fewmask convert {name} RAW DATASET`")
    else:
        _convert(name, raw, dataset, assignments or [], unpack, geometry, overwrite, as_json)


def _convert(
    name: str,
    raw: Path,
    dataset: Path,
    assignments: list[str],
    unpack: Path | None,
    geometry: GeometryChoice | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    from fewmask.data import convert as converting

    with counting("converting", quiet=as_json) as progress:
        changes, by = gather_changes(assignments), geometry or "header"
        done = converting.convert(
            name, raw, dataset, changes, unpack=unpack, geometry=by, overwrite=overwrite, progress=progress
        )
    for sentence in done.missing:
        print_warning(sentence)
    if as_json:
        print_json(_summary(done))
        return
    for sentence in done.notes:
        say(f"note: {sentence}")
    counts = {group: len(done.dataset.ids(group)) for group in ("train", "unlabelled", "test")}
    there = f", {len(done.dataset) - done.written} were there" if done.written < len(done.dataset) else ""
    say(
        f"{dataset}: {counts['train']} training, {counts['unlabelled']} unlabelled and {counts['test']} test cases; "
        f"{done.written} written{there}"
    )
    if done.splits:
        say(f"splits: {', '.join(done.splits)}")
    say_next("fewmask", "check", dataset)


def _summary(done: Conversion) -> dict[str, object]:
    return {
        "dataset": str(done.dataset.root),
        "written": done.written,
        "splits": done.splits,
        "notes": done.notes,
        "warnings": done.missing,
        **{group: done.dataset.ids(group) for group in ("train", "unlabelled", "test")},
    }


def _list(as_json: bool) -> None:
    from rich.table import Table

    from fewmask.data.convert import CONVERTERS

    if as_json:
        print_json([{"name": name, "title": CONVERTERS[name].title} for name in CONVERTERS])
        return
    table = Table("name", "what it converts")
    for name in CONVERTERS:
        table.add_row(name, CONVERTERS[name].title)
    console().print(table)
    say_next("fewmask", "convert", "la")


def _show(name: str, kind: type[Converter], as_json: bool) -> None:
    card = {
        "name": name,
        "title": kind.title,
        "text": (inspect.getdoc(kind) or "").replace("``", ""),
        "layout": kind.layout,
        "settings": settings(kind),
    }
    if as_json:
        print_json(card)
        return
    say(f"{name}: {kind.title}\n\n{card['text']}\n\nRAW holds:\n{kind.layout}")
    if known := settings(kind):
        say("\nSettings (--set KEY=VALUE):")
    for key, default, description in known:
        say(f"  {key}={default if isinstance(default, str) else json.dumps(default)}  {description}")
    say_next("fewmask", "convert", name, "RAW", "DATASET")
