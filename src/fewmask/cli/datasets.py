"""``fewmask datasets``: the public data sets, where they are, and how the papers use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewmask.cli.console import print_json, say, say_next
from fewmask.cli.options import JsonOption
from fewmask.errors import ConfigError

if TYPE_CHECKING:
    from fewmask.data.protocols import Lists, Protocol, PublicDataset


def datasets(
    verb: Annotated[str | None, typer.Argument(metavar="show", help="To print the protocols of one data set.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The data set.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the public data sets, or print the protocols of one.

    Where to get it, what it holds, which cases train and test, and what the papers' figures leave out: `fewmask datasets show NAME`.
    """
    from fewmask.data.protocols import find_public, public_names

    if verb is None:
        _list([find_public(known) for known in public_names()], as_json)
    elif verb == "show" and name:
        known = find_public(name)
        if as_json:
            print_json(_values(known))
            return
        for line in _card(known):
            say(line)
        say_next("fewmask", "convert", known.name, "RAW", "DATASET")
    else:
        wanted = verb if verb in public_names() else "NAME"
        raise ConfigError(f"write `fewmask datasets`, or `fewmask datasets show {wanted}`")


def _list(known: list[PublicDataset], as_json: bool) -> None:
    if as_json:
        print_json([_values(one) for one in known])
        return
    for one in known:
        say(f"{one.name:<12} {one.title}", style="bold")
        size = f"; download {one.size}" if one.size else ""
        say(f"{'':<12} {one.dims}D; {one.target}; {one.cases}{size}")
        say(f"{'':<12} licence: {one.licence}")
        for url in one.home.values():
            say(f"{'':<12} {url}")
    say_next("fewmask", "datasets", "show", "la")


def _values(known: PublicDataset) -> dict[str, Any]:
    """Everything, with the settings of each protocol resolved and the lists' cases counted."""
    values = known.model_dump(mode="json")
    for name, protocol in known.protocols.items():
        values["protocols"][name]["settings"] = known.settings_of(protocol)
    for name, lists in known.lists.items():
        values["lists"][name]["counts"] = _counts(lists)
    return values


def _counts(lists: Lists) -> dict[str, int]:
    """How many units the files of lists name; parts that a rule makes are not counted."""
    from fewmask.data.protocols.shelf import read_list

    parts = {part: getattr(lists, part) for part in ("train", "validation", "test")}
    return {
        part: len(read_list(cases)) for part, cases in parts.items() if isinstance(cases, str) and cases != "imagesTs"
    }


def _card(known: PublicDataset) -> Iterator[str]:
    yield f"{known.name}: {known.title}\n"
    yield f"  {known.dims}D, {known.modality}"
    yield f"  outlined: {known.target}"
    yield f"  cases: {known.cases}"
    yield f"  licence: {known.licence}"
    for what, url in known.home.items():
        yield f"  {what}: {url}"
    yield f"  download: {known.get}" + (f" ({known.size})" if known.size else "")
    yield f"  cite: {known.cite}"
    for layout in known.layout:
        yield f"  layout: {layout}"
    for remark in known.remarks:
        yield f"  note: {remark}"
    yield "\nLists (--lists NAME):"
    for name, lists in known.lists.items():
        counts = ", ".join(f"{part} {number}" for part, number in _counts(lists).items())
        yield f"  {name}: {lists.source}" + (f" [{counts}]" if counts else "")
    for name, protocol in known.protocols.items():
        yield from _protocol(known, name, protocol)


def _protocol(known: PublicDataset, name: str, protocol: Protocol) -> Iterator[str]:
    from fewmask.data.protocols.shortcuts import NEVER_TAKEN, SENTENCES
    from fewmask.run_folder import flatten

    budgets = ", ".join(map(str, protocol.labelled))
    validation = {"none": "none", "lists": "the lists' validation cases, beyond the budget"}
    told = validation.get(str(protocol.validation), f"{protocol.validation} of the budget, where it is five or more")
    yield f"\nProtocol {known.name}/{name}: {protocol.about}"
    yield f"  lists: {protocol.lists}; labelled: {budgets}; validation: {told}"
    yield f"  scans cut with: {protocol.crop}"
    yield f"  checkpoint: {protocol.selection.replace('-', ' ')}; metrics: {', '.join(protocol.metrics)}"
    for key, value in flatten(known.settings_of(protocol)).items():
        yield f"  {key}: {value}"
    for shortcut in (*protocol.shortcuts, *known.lists[protocol.lists].shortcuts):
        never = " (published so; fewmask does not do it)" if shortcut in NEVER_TAKEN else ""
        yield f"  shortcut: {SENTENCES[shortcut]}{never}"
    for sentence in protocol.notes:
        yield f"  note: {sentence}"
    yield f"  fewmask split DATASET --protocol {known.name}/{name} --labelled {protocol.labelled[0]}"
