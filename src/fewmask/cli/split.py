"""``fewmask split``: name the cases whose labels may be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from fewmask.cli.console import print_json, say, say_next
from fewmask.cli.options import DatasetArgument, JsonOption, LabelledOption, parse_amount

SHOWN = 6


def split(
    dataset: DatasetArgument,
    labelled: LabelledOption = None,
    val: Annotated[
        str,
        typer.Option(
            metavar="AMOUNT",
            help="How much of that budget validates instead of training: a number of cases or a share of it.",
        ),
    ] = "0",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Random seed of the choice.")] = 0,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Take the first cases of dataset.json's training_order instead.")
    ] = False,
    patients: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Regular expression whose first group is the patient in a case id, such as '(.+)_scan': a patient's scans stay together. Default: patients of dataset.json.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the split. Default: made from the numbers, such as labelled8-val2-seed0."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Choose whose labels are used, and save the choice by name.

    The choice goes to splits.json in the dataset folder; no scan or label is moved.
    """
    from fewmask.data.dataset import Dataset

    data = Dataset.open(dataset)
    made = data.split(
        labelled=parse_amount(labelled, "--labelled"),
        validation=parse_amount(val, "--val") or 0,
        seed=seed,
        ordered=ordered,
        patients=patients,
    )
    order = "ordered" if ordered else f"seed{seed}"
    chosen = name or f"labelled{len(made.labelled) + len(made.validation)}-val{len(made.validation)}-{order}"
    data.save_split(chosen, made)
    if as_json:
        print_json({"name": chosen, **made.model_dump(mode="json")})
        return
    for part in ("labelled", "validation", "unlabelled", "test"):
        _say_cases(part, getattr(made, part))
    say(f"saved as {chosen!r} in {dataset / 'splits.json'}: {made.how}")
    method = "ua-mt" if made.unlabelled else "supervised"
    say_next("fewmask", "train", dataset, "--split", chosen, "--method", method, "--output", f"runs/{chosen}")


def _say_cases(part: str, cases: Sequence[str]) -> None:
    more = f", ... ({len(cases) - SHOWN} more)" if len(cases) > SHOWN else ""
    say(f"{part:<11}{len(cases):>5}  {', '.join(cases[:SHOWN])}{more}")
