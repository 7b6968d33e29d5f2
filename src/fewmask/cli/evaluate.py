"""``fewmask evaluate``: score label maps against references."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fewmask.cli.console import console, print_json, say, say_next
from fewmask.cli.options import GeometryOption, JsonOption, OverwriteOption, PartOption
from fewmask.cli.predict import part_cases
from fewmask.cli.progress import counting

if TYPE_CHECKING:
    from fewmask.config import EvaluationConfig, GeometryChoice


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="Label map, or folder of label maps.")],
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="The true label map, the folder of them, or a dataset folder.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="For scores.csv and summary.json. Default: where PREDICTIONS are."
        ),
    ] = None,
    unit: Annotated[
        Literal["mm", "voxel"] | None,
        typer.Option(help="Unit of the distances. Default: that of the run whose folder holds PREDICTIONS, else mm."),
    ] = None,
    nsd: Annotated[
        float | None,
        typer.Option(
            metavar="DISTANCE",
            help="Also report the surface Dice (NSD): the share of both surfaces within this distance of the other.",
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC",
            help="A further metric: hd_rowset, which the tables of SemiGDA call 95HD; it is no distance of boundaries.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score a case without a prediction as an empty label map.")
    ] = False,
    geometry: GeometryOption = None,
    part: PartOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score label maps: Dice, Jaccard, HD95, ASD and ASSD.

    Per case and class in scores.csv; mean, standard deviation and counts in summary.json and on the screen.

    Of each class, n is the number of cases behind the mean. absent: the class is in neither label map, and the case is
    left out; missed: it is in the reference alone; spurious: in the prediction alone.
    """
    from fewmask.metrics.evaluate import evaluate as score_folders

    settings, by = _settings(predictions)
    with counting("scoring", quiet=as_json) as progress:
        result = score_folders(
            predictions,
            reference,
            _class_names(predictions, reference),
            unit=unit or settings.unit,
            nsd_tolerance=settings.nsd_tolerance if nsd is None else nsd,
            also=also or (),
            allow_missing=allow_missing,
            geometry=geometry or by,
            cases=part_cases(_folder(predictions).parent, part),
            progress=progress,
        )
    taken = [name for name in _shortcuts(predictions, reference) if name != "voxel-units" or result.unit == "voxel"]
    result = replace(result, shortcuts=tuple(taken))
    folder = output or _folder(predictions)
    result.write(folder, overwrite=overwrite)
    if as_json:
        print_json(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
        return
    console().print(result.table())
    say(f"every case: {folder / 'scores.csv'}")
    if (folder.parent / "config.yaml").exists():
        say_next("fewmask", "report", folder.parent)


def _settings(predictions: Path) -> tuple[EvaluationConfig, GeometryChoice]:
    """The evaluation settings of the run that the predictions lie in, and what said there where voxels lie; or the defaults."""
    from fewmask.config import Experiment
    from fewmask.run_folder import RunFolder

    run = RunFolder(_folder(predictions).parent)
    experiment = run.experiment() if run.started else Experiment()
    return experiment.evaluation, experiment.preprocess.geometry


def _shortcuts(predictions: Path, reference: Path) -> tuple[str, ...]:
    """What the run that the predictions lie in took, or else what the preparation of the reference's data set did."""
    from fewmask.data.description import read_description
    from fewmask.data.layout import is_dataset
    from fewmask.run_folder import RunFolder

    run, folder = RunFolder(_folder(predictions).parent), _folder(reference)
    if (run.path / "split.json").is_file():
        return run.split().shortcuts
    roots = [root for root in (folder, folder.parent) if is_dataset(root)]
    return read_description(roots[0]).shortcuts if roots else ()


def _class_names(predictions: Path, reference: Path) -> tuple[str, ...] | None:
    """Class names from the dataset.json above the references, or of the run above the predictions; none where there is neither."""
    from fewmask.data.description import read_description
    from fewmask.run_folder import RunFolder

    true, predicted = _folder(reference), _folder(predictions)
    for folder in (true.parent, true, predicted.parent, predicted):
        if (folder / "config.yaml").is_file():
            return tuple(RunFolder.open(folder).dataset()["class_names"])
        if (folder / "dataset.json").is_file():
            return read_description(folder).class_names
    return None


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent
