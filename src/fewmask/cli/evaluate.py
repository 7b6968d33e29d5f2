"""``fewmask evaluate``: score label maps against references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from fewmask.cli.console import console, print_json, say, say_next
from fewmask.cli.options import JsonOption


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Label map, or folder of label maps.")],
    reference: Annotated[Path, typer.Argument(help="The true label map, or the folder of them.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for scores.csv and summary.json. Default: PREDICTIONS."),
    ] = None,
    unit: Annotated[Literal["mm", "voxel"], typer.Option(help="Unit of the distances.")] = "mm",
    nsd: Annotated[float | None, typer.Option(help="Also report the surface Dice at this tolerance.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Count references without a prediction as missed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Dice, Jaccard, HD95 and ASD per case and class, with mean, standard deviation and counts."""
    from fewmask.metrics.evaluate import evaluate as score_folders

    result = score_folders(
        predictions,
        reference,
        _class_names(predictions, reference),
        unit=unit,
        nsd_tolerance=nsd,
        allow_missing=allow_missing,
    )
    folder = output or (predictions if predictions.is_dir() else predictions.parent)
    result.write(folder)
    if as_json:
        print_json(result.summary())
        return
    console().print(result.table())
    say(f"every case: {folder / 'scores.csv'}")
    if (folder.parent / "config.yaml").exists():
        say_next("fewmask", "report", folder.parent)


def _class_names(predictions: Path, reference: Path) -> tuple[str, ...] | None:
    """Class names from the dataset.json above the references, or of the run above the predictions; none where there is neither."""
    for folder in (reference.parent, reference, predictions.parent, predictions):
        file = folder / "dataset.json"
        if file.is_file():
            values = json.loads(file.read_text(encoding="utf-8"))
            names = values.get("class_names") or sorted(values.get("labels", {}), key=values["labels"].get)
            return tuple(names)
    return None
