"""``fewmask predict``: label maps of new scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import print_json, say, say_next
from fewmask.cli.options import JsonOption
from fewmask.cli.progress import counting


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder of a training.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, or a folder of images.")],
    output: Annotated[Path, typer.Argument(help="Folder for the label maps; for a single image also a file.")],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write a float map per class.")] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write the entropy map, 0 (sure) to 1.")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="last, best or auto. Default: as the run's config says.")
    ] = None,
    flips: Annotated[
        bool | None, typer.Option("--flips/--no-flips", help="Average over mirrored copies (slower, often better).")
    ] = None,
    largest_component: Annotated[
        bool | None, typer.Option("--largest-component/--all-components", help="Keep one component of each class.")
    ] = None,
    gaussian: Annotated[
        bool | None, typer.Option("--gaussian/--uniform", help="How overlapping windows are averaged.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: a GPU where there is one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Segment scans; every label map has its scan's geometry, format and name."""
    from fewmask.inference.predictor import Predictor

    predictor = Predictor.from_run(run, checkpoint, device)
    wanted = {
        "flips": flips,
        "largest_component": largest_component,
        "weighting": None if gaussian is None else "gaussian" if gaussian else "uniform",
    }
    predictor.settings = predictor.settings.model_copy(
        update={key: value for key, value in wanted.items() if value is not None}
    )
    with counting("predicting", quiet=as_json) as progress:
        paths = predictor.predict_files(
            source, output, probabilities=probabilities, uncertainty=uncertainty, progress=progress
        )
    if as_json:
        print_json([str(path) for path in paths])
        return
    say(f"{len(paths)} label map{'s' if len(paths) > 1 else ''} in {paths[0].parent}")
    say_next("fewmask", "evaluate", paths[0].parent, _reference(source))


def _reference(source: Path) -> Path:
    """Where nnU-Net's layout keeps the labels of a folder of images."""
    folder = source if source.is_dir() else source.parent
    return (
        folder.with_name(folder.name.replace("images", "labels"))
        if folder.name.startswith("images")
        else Path("LABELS")
    )
