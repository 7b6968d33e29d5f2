"""A trained model for use outside fewmask."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from fewmask.errors import ConfigError
from fewmask.files import make_folder, replacing
from fewmask.inference.predictor import Predictor
from fewmask.places import refuse_special
from fewmask.run_folder import RunFolder
from fewmask.temporary import temporary_folder


def export_run(run: Path, output: Path, checkpoint: str | None = None, *, overwrite: bool = False) -> None:
    """Write a run's predictor: patches ``(B, C, *patch)`` to class probabilities ``(B, K, *patch)``.

    Args:
        run: the run folder.
        output: ``.pt2`` for a ``torch.export`` program with any batch size; ``.safetensors`` for the weights alone.
        checkpoint: ``last``, ``best`` or ``auto``; none: as the run's config says.
        overwrite: replace a file that is there with other contents.

    Raises:
        ConfigError: another ending.
        RunError: no run or no weights there.
        WriteError: the file cannot be written, or is there with other contents.
    """
    if output.suffix == ".safetensors":
        source = RunFolder.open(run)
        with replacing(output, overwrite=overwrite) as temporary:
            weights = source.weights(checkpoint or source.experiment().inference.checkpoint)
            refuse_special(weights)
            shutil.copyfile(weights, temporary)
    elif output.suffix == ".pt2":
        predictor = Predictor.from_run(run, checkpoint, device="cpu")
        program = export_program(predictor.module, (predictor.task.in_channels, *predictor.task.patch_size))
        make_folder(output.parent)
        with temporary_folder(output.parent) as folder:
            whole = folder / "model.pt2"
            torch.export.save(program, whole)
            with replacing(output, overwrite=overwrite) as temporary:
                shutil.copyfile(whole, temporary)
    else:
        raise ConfigError(f"{output}: cannot tell the format; use the ending .pt2 (program) or .safetensors (weights)")


def export_program(module: torch.nn.Module, shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    """A module in evaluation mode as a ``torch.export`` program.

    Args:
        module: image ``(B, C, *patch)`` to probabilities.
        shape: ``(C, *patch)``; the batch size stays free.
    """
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(module.eval(), (torch.zeros(2, *shape),), dynamic_shapes=({0: batch},))
