"""What a phase leaves for other runs: the weights of a part of the method, kept when the phase ends and taken up by runs that start from them."""

from __future__ import annotations

from pathlib import Path

from fewmask.errors import ConfigError, RunError
from fewmask.inference.weights import load_weights, save_weights
from fewmask.methods.base import Method, Phase
from fewmask.run_folder import RunFolder


def keep(method: Method, phase: Phase, run: RunFolder, iterations: int) -> None:
    """Write the weights that a phase keeps, if it keeps any.

    Raises:
        WriteError: the disk is full.
    """
    if phase.keeps:
        notes = {"phase": phase.name, "iterations": iterations, **phase.settings}
        save_weights(run.kept(phase.name), method.get_submodule(phase.keeps), notes)


def start_from(method: Method) -> None:
    """Load what the method wants to begin with, if anything.

    Raises:
        ConfigError: the weights were trained under other settings (says which).
        RunError: there are none, or they do not fit.
    """
    method.begin()
    wanted = method.starts_from()
    if wanted is None:
        return
    path, phase = wanted
    file = _file(Path(path), phase)
    notes = load_weights(file, method.get_submodule(phase.keeps))
    wrong = [f"{key}={notes[key]}" for key, value in phase.settings.items() if notes.get(key, value) != value]
    if wrong:
        raise ConfigError(
            f"{file} was trained with {', '.join(wrong)}: set method.{wrong[0]}, or train such weights anew"
        )


def _file(path: Path, phase: Phase) -> Path:
    """The weights of a phase in a run folder, or the file itself."""
    if not path.is_dir():
        if not path.is_file():
            raise RunError(
                f"{path}: there is no such file or run folder; give one that holds the weights of {phase.name}"
            )
        return path
    file = RunFolder.open(path).kept(phase.name)
    if not file.is_file():
        raise RunError(f"{file} does not exist: the run has no finished phase {phase.name}; give one that has")
    return file
