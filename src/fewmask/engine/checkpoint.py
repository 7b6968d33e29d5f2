"""The file that resumes a run. Nothing in it is unpickled: it is read with ``weights_only=True``."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewmask.errors import FewmaskWarning, RunError
from fewmask.files import replacing
from fewmask.places import refuse_special


@dataclass
class TrainState:
    """How far a run has come.

    Attributes:
        phase: index of the phase under way.
        iteration: steps done in it.
        done: steps done in the whole run.
        best: best validation Dice so far; -1 before the first.
        seconds: time spent in training, over all sittings.
        due: the last step's row and validation are still to come.
        row: the iteration of the last row of ``metrics.csv``; a step between two rows has none.
    """

    phase: int = 0
    iteration: int = 0
    done: int = 0
    best: float = -1.0
    seconds: float = 0.0
    due: bool = False
    row: int = 0


def save_state(
    path: Path,
    state: TrainState,
    method: nn.Module,
    optimisers: dict[str, Any],
    *,
    precision: dict[str, Any] | None = None,
    forwards: Sequence[list[dict[str, Any]]] = (),
    alongside: Callable[[], None] | None = None,
) -> None:
    """Write all that a resumed run needs, in one step; the checkpoint before it becomes `previous`.

    Args:
        path: where to.
        state: how far the run has come.
        method: its networks.
        optimisers: of the phase under way, by turn.
        precision: the state of the loss scaling.
        forwards: of each process, its `fewmask.engine.tally.Tally.state`.
        alongside: writes what belongs to it, when it has found room but is not yet in its place. So a disk that cannot take both
            keeps the old of both; and a kill in between leaves a state that is the older, from which the rest is written again.

    Raises:
        WriteError: the disk is full; both are as they were.
    """
    values = {
        "state": asdict(state),
        "method": method.state_dict(),
        "precision": precision or {},
        "optimisers": {name: optimiser.state_dict() for name, optimiser in optimisers.items()},
        "forwards": list(forwards),
    }
    with replacing(path, keep=previous(path)) as temporary:
        torch.save(values, temporary)
        if alongside is not None:
            alongside()


def previous(path: Path) -> Path:
    """Where the checkpoint before the last is kept, for when the last is damaged."""
    return path.with_name("previous.pt")


def load_latest(path: Path) -> dict[str, Any] | None:
    """The last checkpoint that is whole: ``path``, or else the one before it, which then takes its place.

    Returns:
        See `load_state`; none where there is no checkpoint yet.

    Raises:
        RunError: there are checkpoints, but none is whole.
    """
    problem: RunError | None = None
    for candidate in (path, previous(path)):
        if candidate.exists():
            try:
                values = load_state(candidate)
            except RunError as error:
                problem = problem or error
                continue
            if problem:
                warnings.warn(
                    f"{path} is damaged: continuing from the checkpoint before it", FewmaskWarning, stacklevel=2
                )
            if candidate != path:
                with suppress(FileNotFoundError):  # another process of the same training did it
                    candidate.replace(path)
            return values
    if problem:
        raise problem
    return None


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote, on the CPU.

    Raises:
        RunError: the file is damaged, holds code, or is no checkpoint of fewmask.
    """
    try:
        refuse_special(path)
        with zipfile.ZipFile(path) as file:  # torch does not look at the checksums that it writes
            if any(entry.compress_type for entry in file.infolist()):
                raise ValueError("it holds compressed data, which torch never writes")
            if broken := file.testzip():
                raise ValueError(f"{broken} is not what was written")
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # what a damaged or hostile file raises has no end: AttributeError, KeyError, struct.error ...
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(
            f"{path} cannot be read as a checkpoint ({reason}): delete the run folder and train again"
        ) from None
    if not _is_checkpoint(values):
        raise RunError(f"{path} is not a checkpoint of fewmask: give a run folder that fewmask train wrote")
    return dict(values)


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Says of whole values that the block cannot load where they came from.

    Raises:
        RunError: they belong to another method, network or optimiser.
    """
    try:
        yield
    except (RuntimeError, TypeError, KeyError, ValueError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(f"{path} does not fit this run's method and network ({reason}): train anew") from None


def _is_checkpoint(values: Any) -> bool:
    parts = [values.get(key) for key in ("state", "method", "optimisers")] if isinstance(values, dict) else [None]
    return all(isinstance(part, dict) for part in parts) and all(
        isinstance(value, int | float) for value in values["state"].values()
    )
