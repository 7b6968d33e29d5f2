"""From the values that a data set's masks hold to class numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from fewmask.errors import DataError


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
