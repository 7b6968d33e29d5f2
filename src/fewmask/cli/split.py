"""``fewmask split``: name the cases whose labels may be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fewmask.cli.console import print_json, say, say_next
from fewmask.cli.options import (
    DatasetArgument,
    JsonOption,
    LabelledOption,
    ListsOption,
    PatientsOption,
    ProtocolOption,
)
from fewmask.errors import ConfigError
from fewmask.words import parse_amount

if TYPE_CHECKING:
    from fewmask.data.dataset import Dataset
    from fewmask.data.split import Split

SHOWN = 6


def split(
    dataset: DatasetArgument,
    labelled: LabelledOption = None,
    val: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="How much of that budget validates instead of training: a number of cases or a share of it. "
            "Default: 0, or as the protocol has it.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Random seed of the choice. Default: 0, or a protocol's published order."
        ),
    ] = None,
    protocol: ProtocolOption = None,
    lists: ListsOption = None,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Take the first cases of dataset.json's training_order instead.")
    ] = False,
    patients: PatientsOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the split. Default: made from the numbers, such as labelled8-val2-seed0."
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Replace another split of this name. Default: it stays, and the call is refused."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Choose whose labels are used, and save the choice by name.

    The choice goes to splits.json in the dataset folder; no scan or label is moved.
    """
    from fewmask.data.dataset import Dataset
    from fewmask.data.protocols.split import split_name

    data = Dataset.open(dataset)
    if protocol:
        if ordered or patients:
            raise ConfigError("--protocol knows the order and the patients: leave --ordered and --patients out")
        made = protocol_split(data, protocol, labelled, val, lists, seed)
        chosen = name or split_name(made, labelled, val, lists)
    elif lists:
        raise ConfigError("--lists needs --protocol, for example --protocol pancreas-ct/paper")
    else:
        made = data.split(
            labelled=parse_amount(labelled, "--labelled"),
            validation=parse_amount(val, "--val") or 0,
            seed=seed or 0,
            ordered=ordered,
            patients=patients,
        )
        order = "ordered" if ordered else f"seed{seed or 0}"
        chosen = name or f"labelled{len(made.labelled) + len(made.validation)}-val{len(made.validation)}-{order}"
    data.save_split(chosen, made, replace=replace)
    if as_json:
        print_json({"name": chosen, **made.model_dump(mode="json")})
        return
    for part in ("labelled", "validation", "unlabelled", "test"):
        _say_cases(part, getattr(made, part))
    say(f"saved as {chosen!r} in {dataset / 'splits.json'}: {made.how}")
    if protocol:
        tell_protocol(protocol, made)
    method = "ua-mt" if made.unlabelled else "supervised"
    under = ("--protocol", protocol) if protocol else ()
    say_next("fewmask", "train", dataset, "--split", chosen, *under, "--method", method, "--output", f"runs/{chosen}")


def protocol_split(
    data: Dataset, protocol: str, labelled: str | None, val: str | None, lists: str | None, seed: int | None
) -> Split:
    """A protocol's split from the words of the command line."""
    from fewmask.data.protocols.split import protocol_split as make

    budget, validation = parse_amount(labelled, "--labelled"), parse_amount(val, "--val")
    return make(data, protocol, budget, validation, lists=lists, seed=seed)


def tell_protocol(protocol: str, made: Split) -> None:
    """What a protocol's figures are, and where they are not the published ones."""
    from fewmask.data.protocols import find_protocol
    from fewmask.data.protocols.shortcuts import stamp

    if text := stamp(made.shortcuts):
        say(text)
    for sentence in find_protocol(protocol)[1].notes:
        say(f"note: {sentence}")


def _say_cases(part: str, cases: Sequence[str]) -> None:
    more = f", ... ({len(cases) - SHOWN} more)" if len(cases) > SHOWN else ""
    say(f"{part:<11}{len(cases):>5}  {', '.join(cases[:SHOWN])}{more}")
