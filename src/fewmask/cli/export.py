"""``fewmask export``: a trained model for use outside fewmask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import say
from fewmask.cli.options import CheckpointOption, OverwriteOption, RunArgument


def export(
    run: RunArgument,
    output: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Its ending chooses: .pt2, a program for torch.export.load; .safetensors, the weights alone.",
        ),
    ],
    checkpoint: CheckpointOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a trained model as a program or as weights.

    The model maps patches to class probabilities; `fewmask predict` adds preprocessing and the way back.
    """
    from fewmask.inference.export import export_run

    export_run(run, output, checkpoint, overwrite=overwrite)
    say(f"exported: {output}")
    if output.suffix == ".pt2":
        say(f"in Python: torch.export.load({str(output)!r}).module()")
