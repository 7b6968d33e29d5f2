"""``fewmask pseudo-label``: a data set whose unlabelled scans have the labels of a model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from fewmask.cli.console import print_json, say, say_next
from fewmask.cli.options import (
    CheckpointOption,
    ComponentOption,
    DatasetArgument,
    DeviceOption,
    EngineOption,
    FlipsOption,
    JsonOption,
    OverwriteOption,
    RunArgument,
    WeightingOption,
    open_predictor,
)
from fewmask.cli.progress import counting


def pseudo_label(
    run: RunArgument,
    dataset: DatasetArgument,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Dataset folder to write; new, or one to go on with.")],
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="P", help="Leave scans unlabelled whose predicted foreground is less sure on average."
        ),
    ] = None,
    ignore_below: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="P", help="Give less sure voxels nnU-Net's ignore label; only nnU-Net knows it."
        ),
    ] = None,
    link: Annotated[
        Literal["hard", "symbolic"] | None, typer.Option(help="Link images instead of copying them; labels are copied.")
    ] = None,
    checkpoint: CheckpointOption = None,
    flips: FlipsOption = None,
    largest_component: ComponentOption = None,
    gaussian: WeightingOption = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a dataset folder with the labels of a model.

    nnU-Net takes it, too. Scans whose label the run could see keep it; labels that its split hides are not opened.
    confidence/ holds a map a scan: the probability of the voxel's class, times 255. Stopped, the same command goes on.
    """
    from fewmask.data.dataset import Dataset
    from fewmask.data.fingerprint import file_digest
    from fewmask.inference.pseudo_dataset import Choice, write_pseudo_labels
    from fewmask.run_folder import RunFolder

    folder = RunFolder.open(run)
    predictor = open_predictor(
        run, checkpoint, device, flips=flips, largest_component=largest_component, gaussian=gaussian, engine=engine
    )
    settings = predictor.settings
    weights = folder.weights(checkpoint or settings.checkpoint)
    origin = {
        "run": run.resolve().name,
        "weights": f"{weights.name} {file_digest(weights).hex()[:32]}",
        "inference": settings.model_dump(mode="json", exclude={"checkpoint", "window_batch"}),
    }
    choice = Choice(min_confidence, ignore_below, link)
    with counting("labelling", quiet=as_json) as progress:
        made = write_pseudo_labels(
            predictor,
            Dataset.open(dataset),
            folder.split(),
            output,
            choice=choice,
            origin=origin,
            progress=progress,
            overwrite=overwrite,
        )
    kept = [row for row in made.rows if row.kept]
    if as_json:
        counts = {
            "labelled": len(made.roles.labelled),
            "pseudo_labelled": len(kept),
            "left_out": len(made.rows) - len(kept),
        }
        print_json({"dataset": str(output), **counts})
        return
    left = f", {len(made.rows) - len(kept)} left unlabelled" if len(kept) < len(made.rows) else ""
    empty = sum(row.foreground == 0 for row in kept)
    say(f"{len(made.roles.labelled)} scans with true labels, {len(kept)} with predicted ones{left}: {output}")
    if empty:
        say(f"in {empty} of them nothing was found: look at those first, or leave them out with --min-confidence")
    if ignore_below is None:
        say_next(
            "fewmask", "train", output, "--split", "pseudo", "--output", run.parent / f"{run.resolve().name}-round-2"
        )
    else:
        number = re.match(r"Dataset(\d{3})_", output.resolve().name)
        say_next("nnUNetv2_plan_and_preprocess", "-d", number[1] if number else "ID", "--verify_dataset_integrity")
