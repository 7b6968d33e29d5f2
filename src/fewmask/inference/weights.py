"""The weights that predict, as safetensors: the form in which models are kept and shared."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fewmask.errors import RunError
from fewmask.files import replacing
from fewmask.places import refuse_special

# One text, because safetensors writes several in an order of its own: the same weights are the same file. What phases have kept
# bears this name in older files, too.
NOTES = "kept"


def save_weights(path: Path, module: nn.Module, notes: Mapping[str, Any]) -> None:
    """Write a module's weights as safetensors, in one step, with notes (plain values) in the header."""
    from safetensors.torch import save

    weights = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    with replacing(path) as temporary:  # not save_file, which has a temporary file of its own that a kill leaves behind
        temporary.write_bytes(save(weights, metadata={NOTES: json.dumps(notes)}))


def read_notes(path: Path) -> dict[str, Any]:
    """The notes in the header of weights; none where somebody else wrote the file.

    Raises:
        OSError: there is no such file.
        SafetensorError: it is damaged.
    """
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return _notes(file.metadata())


def load_weights(path: Path, module: nn.Module) -> dict[str, Any]:
    """Read weights into a module of the same architecture.

    Returns:
        The notes of the file's header.

    Raises:
        RunError: the file is damaged or belongs to another architecture.
    """
    from safetensors import SafetensorError, safe_open

    try:
        refuse_special(path)
        with safe_open(path, framework="pt") as file:
            notes = _notes(file.metadata())
            weights: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as weights ({error}): copy the run folder anew") from None
    expected = module.state_dict()
    wrong = [
        k
        for k in sorted({*weights, *expected})
        if k not in weights or k not in expected or _kind(weights[k]) != _kind(expected[k])
    ]
    if wrong:
        raise RunError(f"{path} does not fit the run's config: {len(wrong)} tensors differ, the first is {wrong[0]}")
    if broken := next((k for k, value in weights.items() if not bool(value.isfinite().all())), None):
        raise RunError(
            f"{path} holds weights that are not finite, {broken} among them: train again, or use an older copy"
        )
    module.load_state_dict(weights)
    return notes


def _notes(header: dict[str, str] | None) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        values = json.loads((header or {}).get(NOTES, "{}"))
        return values if isinstance(values, dict) else {}
    return {}


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.is_floating_point()
