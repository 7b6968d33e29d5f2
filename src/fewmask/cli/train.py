"""``fewmask train``: a run folder from a data set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fewmask.cli.console import console, print_json, say, say_next
from fewmask.cli.options import (
    DatasetArgument,
    GeometryOption,
    JsonOption,
    LabelledOption,
    ListsOption,
    PatientsOption,
    ProtocolOption,
    gather_changes,
)
from fewmask.cli.progress import TrainingBar, counting
from fewmask.cli.split import protocol_split
from fewmask.errors import ConfigError
from fewmask.words import parse_amount

if TYPE_CHECKING:
    from fewmask.config import Experiment, GeometryChoice
    from fewmask.data.dataset import Dataset
    from fewmask.data.split import Split


def train(
    dataset: DatasetArgument,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="RUN", help="Run folder to write.")] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="`fewmask methods` lists them. Default: supervised.")
    ] = None,
    labelled: LabelledOption = None,
    val: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="How much of that budget validates instead of training. Default: a fifth where it is five cases or more, else none.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="A split of `fewmask split`, instead of --labelled and --val.")
    ] = None,
    protocol: ProtocolOption = None,
    lists: ListsOption = None,
    patients: PatientsOption = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Random seed of the split, the networks and the patches. Default: 0."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="A shipped recipe, such as la/ua-mt, or a YAML file.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as train.lr=0.01; repeatable."),
    ] = None,
    geometry: GeometryOption = None,
    resume: Annotated[
        Literal["auto", "never"],
        typer.Option(help="auto: continue the run in --output where there is one; never: refuse."),
    ] = "never",
    store: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="For preprocessed cases. Default: DATASET/.fewmask/store.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, with measured time and memory, and stop.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model from labelled and unlabelled scans.

    With --protocol the cases, patch, stride, preprocessing and units are those of the protocol, on top of the recipe's.
    """
    from fewmask.data.dataset import Dataset

    if split and (labelled or val):
        raise ConfigError("give either --split or --labelled and --val, not both")
    if output is None and not dry_run:
        raise ConfigError("give --output, the run folder to write, for example --output runs/first")
    if lists and (split or not protocol):
        raise ConfigError("--lists goes with --protocol and without --split, which has its cases already")
    if patients and (split or protocol):
        raise ConfigError("--patients goes without --split and --protocol, which know whose scans they are")
    experiment = _experiment(recipe, assignments or [], method, seed, protocol, geometry)
    data = Dataset.open(dataset)
    if protocol and not split:
        chosen = protocol_split(data, protocol, labelled, val, lists, seed)
    else:
        chosen = _split(data, split, labelled, val, experiment.train.seed, patients)
    if dry_run:
        _print_plan(experiment, data, chosen, store, output is not None, as_json)
        return
    assert output is not None  # checked above
    _train(experiment, data, chosen, output, resume == "auto", store, as_json)


def _train(
    experiment: Experiment, data: Dataset, split: Split, output: Path, resume: bool, store: Path | None, quiet: bool
) -> None:
    from fewmask.engine.distributed import is_follower
    from fewmask.engine.train import train as run_training

    follower = is_follower()  # of several processes only the main one prints
    as_json, quiet = quiet, quiet or follower
    bar = TrainingBar(quiet=quiet, log=output / "terminal.log")
    with counting("preprocessing", quiet=quiet) as preparing, bar:
        run = run_training(
            experiment, data, split, output, resume=resume, store=store, preparing=preparing, listener=bar
        )
    if follower:
        return
    if as_json:
        print_json({"run": str(run.path), "weights": str(run.weights())})
        return
    if split.patients:
        say(f"split: {split.how}")
    say(f"trained {experiment.method.name}: {run.weights()}")
    say_next("fewmask", "predict", output, *_scans_to_predict(data, split, run.predictions))


def _scans_to_predict(data: Dataset, split: Split, predictions: Path) -> tuple[str | Path, ...]:
    """The test scans, or else a folder of scans whose labels the training did not see; and where the label maps go."""
    if split.test and set(split.test) != set(data.ids("test")):
        return data.root, predictions, "--part", "test"
    cases = [*split.test, *split.unlabelled, *split.validation, *split.labelled]
    return data.case(cases[0]).images[0].parent, predictions


def _experiment(
    recipe: str | None,
    assignments: list[str],
    method: str | None,
    seed: int | None,
    protocol: str | None,
    geometry: GeometryChoice | None,
) -> Experiment:
    from fewmask.config import load_experiment, merge
    from fewmask.recipes import recipe_path

    changes = gather_changes(
        assignments,
        method={"name": method} if method else {},
        train={"seed": seed} if seed is not None else {},
        preprocess={"geometry": geometry} if geometry else {},
    )
    if protocol:
        from fewmask.data.protocols.shelf import protocol_settings

        changes = merge(protocol_settings(protocol), changes)
    return load_experiment(recipe_path(recipe) if recipe else None, changes)


def _split(
    data: Dataset, name: str | None, labelled: str | None, val: str | None, seed: int, patients: str | None
) -> Split:
    from fewmask.engine.train import default_split

    if name:
        return data.load_split(name)
    return default_split(data, parse_amount(labelled, "--labelled"), parse_amount(val, "--val"), seed, patients)


def _print_plan(
    experiment: Experiment, data: Dataset, split: Split, store: Path | None, has_output: bool, as_json: bool
) -> None:
    from rich.table import Table

    from fewmask.engine.job import assemble
    from fewmask.engine.plan import measure_plan

    with counting("preprocessing", quiet=as_json) as preparing:
        job = assemble(experiment, data, split, store, preparing)
    plan: dict[str, Any] = measure_plan(job)
    if as_json:
        print_json(plan)
        return
    table = Table(title=f"Plan: {experiment.method.name} on {data.name}", show_header=False)
    for key, value in plan.items():
        table.add_row(key.replace("_", " "), str(value))
    console().print(table)
    words = [word for word in sys.argv[1:] if word != "--dry-run"]
    say_next("fewmask", *words, *([] if has_output else ["--output", "runs/first"]))
