"""From the values that a data set's masks hold to class numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator

from fewmask.errors import ConfigError, DataError

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]
"""Names in a setting, written as a list."""


def check_classes(name: str, classes: Sequence[str]) -> None:
    """Raise ConfigError where a converter's setting ``classes`` does not name two different ones or more."""
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ConfigError(f"settings of {name}: classes needs two different names or more, background first")


def remapped(path: Path, label: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    """Class numbers uint8.

    Args:
        path: that the label came from; opens the error.
        label: whole numbers, any shape.
        values: the class of each value that may occur.

    Raises:
        DataError: another value occurs.
    """
    there = np.unique(label)
    strange = [value for value in there.tolist() if value not in values]
    if strange:
        shown = ", ".join(f"{value:g}" for value in strange[:5])
        raise DataError(
            f"{path}: holds the label value {shown}, but only {', '.join(map(str, values))} mean something; mend the file or say what it means"
        )
    made = np.zeros(label.shape, np.uint8)
    for value in there.tolist():
        if values[value]:
            made[label == value] = values[value]
    return made


def binary(path: Path, label: np.ndarray, foreground: Iterable[int]) -> np.ndarray:
    """1 where the label has one of the ``foreground`` values, 0 where it is 0.

    Raises:
        DataError: another value occurs.
    """
    return remapped(path, label, {0: 0, **dict.fromkeys(foreground, 1)})


def whole_numbers(path: Path, label: np.ndarray) -> np.ndarray:
    """A label as whole numbers, whatever type it has.

    Raises:
        DataError: a value is not whole.
    """
    rounded = np.rint(label) if label.dtype.kind == "f" else label
    if not np.array_equal(rounded, label):
        raise DataError(f"{path}: holds label values that are not whole numbers; make it anew without interpolation")
    return rounded if label.dtype.kind != "f" else rounded.astype(np.int32)


def two_values(path: Path, label: np.ndarray, classes: int) -> np.ndarray:
    """A mask of two classes whose foreground is 255 as 0 and 1; other labels as they are.

    Raises:
        DataError: other values occur that are no classes.
    """
    there = np.unique(label).tolist()
    if max(there, default=0) < classes:
        return label.astype(np.uint8)
    if classes == 2 and set(there) <= {0, 255}:
        return (label > 0).astype(np.uint8)
    shown = ", ".join(f"{value:g}" for value in there[:8])
    raise DataError(
        f"{path}: holds the values {shown}, of which {classes} classes are not told; say what each means by --set "
        "'values={0: 0, 128: 1}', or give a --set threshold=127 for a grey mask"
    )
