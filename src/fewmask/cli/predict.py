"""``fewmask predict``: label maps of new scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import print_json, say, say_next
from fewmask.cli.options import (
    CheckpointOption,
    ComponentOption,
    DeviceOption,
    EngineOption,
    FlipsOption,
    GeometryOption,
    JsonOption,
    OverwriteOption,
    PartOption,
    RunArgument,
    WeightingOption,
    open_predictor,
)
from fewmask.cli.progress import counting
from fewmask.errors import ConfigError


def predict(
    run: RunArgument,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, a folder of images, or a dataset folder.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Folder for the label maps, or a file where INPUT is one.")
    ],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write a map of its probability for each class.")
    ] = False,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty", help="Also write a map of the uncertainty (entropy): 0 sure, 1 all classes equally likely."
        ),
    ] = False,
    spread: Annotated[
        bool,
        typer.Option(
            "--spread", help="Also write a map of how far noise samples lie apart, for methods that predict from noise."
        ),
    ] = False,
    draws: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Noise samples to average, for methods that predict from noise."),
    ] = None,
    checkpoint: CheckpointOption = None,
    flips: FlipsOption = None,
    largest_component: ComponentOption = None,
    gaussian: WeightingOption = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    geometry: GeometryOption = None,
    part: PartOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment scans, each in its own geometry, format and name."""
    predictor = open_predictor(
        run,
        checkpoint,
        device,
        flips=flips,
        largest_component=largest_component,
        gaussian=gaussian,
        engine=engine,
        geometry=geometry,
    )
    if draws is not None:
        predictor.draw(draws)
    with counting("predicting", quiet=as_json) as progress:
        paths = predictor.predict_files(
            source,
            output,
            probabilities=probabilities,
            uncertainty=uncertainty,
            spread=spread,
            progress=progress,
            cases=part_cases(run, part),
            overwrite=overwrite,
        )
    if as_json:
        print_json([str(path) for path in paths])
        return
    say(f"label map: {paths[0]}" if len(paths) == 1 else f"{len(paths)} label maps in {paths[0].parent}")
    say_next("fewmask", *_next(run, source, paths, part))


def part_cases(run: Path, part: str | None) -> frozenset[str] | None:
    """The cases of a part of a run's split; None for all there are.

    Raises:
        ConfigError: the part is empty.
        RunError: there is no run.
    """
    if part is None:
        return None
    from fewmask.run_folder import RunFolder

    cases: tuple[str, ...] = getattr(RunFolder.open(run).split(), part)
    if not cases:
        raise ConfigError(f"--part {part}: the split of {run} has no {part} cases; choose another part")
    return frozenset(cases)


def _next(run: Path, source: Path, paths: list[Path], part: str | None) -> tuple[str | Path, ...]:
    """Evaluation where nnU-Net's layout has labels of these very scans, else the report."""
    from fewmask.data.layout import is_dataset
    from fewmask.inference.channel_numbers import split_number, stem_of
    from fewmask.inference.scan import Scan

    if part and is_dataset(source):
        return ("evaluate", paths[0].parent, source, "--part", part)
    images = source if source.is_dir() else source.parent
    labels = images.parent / images.name.replace("images", "labels")
    if images != labels and labels.is_dir():
        for name in (split_number(source)[0], stem_of(source)) if source.is_file() else ():
            if (label := labels / Scan(name, (source,)).output_name).is_file():
                return ("evaluate", paths[0], label)
        if source.is_dir() and part:
            return ("evaluate", paths[0].parent, labels, "--part", part)
        if source.is_dir() and {path.name for path in labels.iterdir()} <= {path.name for path in paths}:
            return ("evaluate", paths[0].parent, labels)
    return ("report", run)
