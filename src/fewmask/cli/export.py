"""``fewmask export``: a trained model for use outside fewmask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import say


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of a training.")],
    output: Annotated[
        Path, typer.Argument(help="File to write; .pt2 (torch.export program) or .safetensors (weights).")
    ],
    checkpoint: Annotated[
        str | None, typer.Option(help="last, best or auto. Default: as the run's config says.")
    ] = None,
) -> None:
    """Write the predictor (patch to class probabilities) as a program or as weights."""
    from fewmask.inference.export import export_run

    export_run(run, output, checkpoint)
    say(f"exported: {output}")
