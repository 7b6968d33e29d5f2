"""``splits.json``: the named splits of a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fewmask.data.split import Split
from fewmask.errors import DataError
from fewmask.files import read_json, write_json
from fewmask.locks import locked

NAME = "splits.json"


def read_splits(root: Path) -> dict[str, Any]:
    """The plain values of a folder's splits by name; none where there is no file.

    Raises:
        DataError: the file cannot be read.
    """
    path = root / NAME
    try:
        values = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); mend or delete it") from None
    splits = values.get("splits") if isinstance(values, dict) else None
    if not isinstance(splits, dict):
        raise DataError(f'{path}: must hold {{"splits": {{name: split}}}}; mend or delete it')
    return splits


def write_split(root: Path, name: str, split: Split, *, replace: bool, option: str = "--replace") -> None:
    """Add a split to the file in one step; the others stay.

    Args:
        root: the dataset folder.
        name: of the split.
        split: it.
        replace: whether a split of this name that is another one is replaced.
        option: what the user types to have it so.

    Raises:
        DataError: the file cannot be read, or holds another split of this name that is not to be replaced.
        WriteError: the file cannot be written.
    """
    with locked(root, wait=True):  # or of two at once, one would lose its split
        splits, values = read_splits(root), split.model_dump(mode="json")
        if not replace:
            refuse_other(root, name, split, splits, option)
        write_json(root / NAME, {"splits": {**splits, name: values}})


def refuse_other(root: Path, name: str, split: Split, splits: dict[str, Any], option: str = "--replace") -> None:
    """See that a name is free, or that of the same cases.

    Args:
        root: the dataset folder.
        name: of the split.
        split: it.
        splits: those that are there.
        option: what the user types to replace it.

    Raises:
        DataError: the name is another split's.
    """
    if name not in splits:
        return
    try:
        same = split.same_as(Split.model_validate(splits[name]))
    except ValueError:
        same = False
    if not same:
        said = option.removeprefix("--")
        raise DataError(
            f"{root / NAME}: has another split {name!r}; add {option} (in Python {said}=True) to replace it, or name the new one otherwise"
        )
