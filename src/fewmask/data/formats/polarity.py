"""TIFF's grey where white is 0: which way round a picture and a label map are meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fewmask.errors import DataError

WHITE_IS_ZERO = 0


def means_numbers(file: Any, page: Any) -> bool:
    """Whether its writer stores an array's numbers as they are, whatever it says of white: tifffile and ImageJ do."""
    return bool(file.is_imagej or file.is_shaped or page.software.startswith("tifffile"))


def upright(path: Path, values: np.ndarray, bits: int, *, label: bool, numbers: bool) -> np.ndarray:
    """Values of a file whose white is 0, so that white is high in an image and a class has its number in a label.

    Of one bit, tifffile writes boolean arrays as white is 0 with True as 1, so True stays 1; other writers mean black
    and white, and white becomes 1. Deeper labels hold class numbers as stored: ImageJ's masks, of 255 under an inverting
    table, too. Only where the other way round gives the smaller numbers are these the classes.

    Args:
        path: opens the error.
        values: as stored, any shape.
        bits: of a sample.
        label: whether they are class numbers.
        numbers: see `means_numbers`.

    Raises:
        DataError: a label's values are as plausible the other way round.
    """
    if values.dtype.kind == "b":
        return values if numbers else ~values
    if not label:
        return reversed_grey(values, bits)
    if numbers or values.dtype.kind not in "u" or not values.size:
        return values
    other = reversed_grey(values, bits)
    if values.max() == other.max():
        raise DataError(
            f"{path}: is a label whose TIFF header says that 0 is white, and its values may be meant either way; save it "
            "with 0 as black, or as PNG"
        )
    return values if values.max() < other.max() else other


def reversed_grey(values: np.ndarray, bits: int) -> np.ndarray:
    """Light for dark: the type's whole range turned round, or in floats that of 0 to 1."""
    if values.dtype.kind == "f":
        return 1 - values
    if values.dtype.kind == "u" and bits < 8 * values.dtype.itemsize:
        values = values ^ values.dtype.type(2**bits - 1)
    else:
        values = ~values
    return values
