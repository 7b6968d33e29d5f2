"""The file that resumes a run. Nothing in it is unpickled: it is read with ``weights_only=True``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

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


def save_state(
    path: Path,
    state: TrainState,
    method: nn.Module,
    optimisers: dict[str, Any],
    precision: dict[str, Any] | None = None,
) -> None:
    """Write all that a resumed run needs, in one step."""
    values = {
        "state": asdict(state),
        "method": method.state_dict(),
        "precision": precision or {},
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
    except (
        Exception
    ) as error:  # what a damaged or hostile file raises has no end: AttributeError, KeyError, struct.error ...
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(
            f"{path} cannot be read as a checkpoint ({reason}): delete the run folder and train again"
        ) from None
    if not isinstance(values, dict) or not {"state", "method", "optimisers"} <= values.keys():
        raise RunError(f"{path} is not a checkpoint of fewmask: give a run folder that fewmask train wrote")
    return values
