"""Checkpoints: one file that resumes a run, and small ones that predict.

Nothing is unpickled from a path: the resume file is read with ``weights_only=True``, the weights for prediction are safetensors.
"""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewmask.errors import RunError
from fewmask.files import replacing


@dataclass
class TrainState:
    """How far a run has come.

    Attributes:
        phase: index of the phase under way.
        iteration: steps done in it.
        done: steps done in the whole run.
        best: best validation Dice so far; -1 before the first.
        seconds: time spent in training, over all sittings.
    """

    phase: int = 0
    iteration: int = 0
    done: int = 0
    best: float = -1.0
    seconds: float = 0.0


def save_state(path: Path, state: TrainState, method: nn.Module, optimisers: dict[str, Any]) -> None:
    """Write all that a resumed run needs, in one step."""
    values = {
        "state": asdict(state),
        "method": method.state_dict(),
        "optimisers": {name: optimiser.state_dict() for name, optimiser in optimisers.items()},
    }
    with replacing(path) as temporary:
        torch.save(values, temporary)


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote, on the CPU.

    Raises:
        RunError: the file is damaged, holds code, or is no checkpoint of fewmask.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(
            f"{path} cannot be read as a checkpoint ({reason}): delete the run folder and train again"
        ) from None
    if not isinstance(values, dict) or not {"state", "method", "optimisers"} <= values.keys():
        raise RunError(f"{path} is not a checkpoint of fewmask: give a run folder that fewmask train wrote")
    return values


def save_weights(path: Path, module: nn.Module, notes: dict[str, str]) -> None:
    """Write a module's weights as safetensors, in one step, with notes in the header."""
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()},
            temporary,
            metadata=notes,
        )


def load_weights(path: Path, module: nn.Module) -> dict[str, str]:
    """Read weights into a module of the same architecture.

    Returns:
        The notes of the file's header.

    Raises:
        RunError: the file is damaged or belongs to another architecture.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
            weights: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as weights ({error}): copy the run folder anew") from None
    expected = module.state_dict()
    wrong = [
        k
        for k in sorted({*weights, *expected})
        if k not in weights or k not in expected or weights[k].shape != expected[k].shape
    ]
    if wrong:
        raise RunError(f"{path} does not fit the run's config: {len(wrong)} tensors differ, the first is {wrong[0]}")
    module.load_state_dict(weights)
    return notes
