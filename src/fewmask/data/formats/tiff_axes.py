"""What the axes of a TIFF stack mean: channels, depth, rows and columns; what else there is has no place in a scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fewmask.data.formats.tiff_parts import UNNAMED
from fewmask.errors import DataError

_NAMES = {
    "T": "time points",
    "A": "angles",
    "P": "phases or positions",
    "R": "tiles or regions",
    "H": "lifetimes",
    "E": "wavelengths",
    "L": "exposures",
    "V": "events",
    "M": "mosaic tiles",
    "J": "columns of tiles",
    "K": "rows of tiles",
}


def check_axes(path: Path, axes: str, shape: Sequence[int]) -> None:
    """Refuse what is neither channel, depth, row nor column.

    Args:
        path: opens the error.
        axes: a letter an axis, as tifffile names them.
        shape: of those axes; an axis of one is none.

    Raises:
        DataError: naming the axis and how many there are.
    """
    long = [(axis, n) for axis, n in zip(axes, shape, strict=True) if n > 1]
    for axis, n in long:
        if axis not in f"CSZYX{UNNAMED}":
            raise DataError(
                f"{path}: holds {n} {_NAMES.get(axis, f'planes along its axis {axis!r}')}, and a scan has channels and "
                "depth only; save each as a file of its own"
            )
    depths = [n for axis, n in long if axis in f"Z{UNNAMED}"]
    if len(depths) > 1 or any(axes.count(axis) > 1 for axis in "CSZYX"):
        sizes = " x ".join(str(n) for n in depths)
        raise DataError(
            f"{path}: has {sizes} pages and does not say which axis is depth; save it with named axes, as tifffile does "
            "with metadata={'axes': 'CZYX'}"
        )


def depth(axes: str, shape: Sequence[int]) -> int:
    """Slices of a part whose axes `check_axes` has passed."""
    return math.prod(n for axis, n in zip(axes, shape, strict=True) if axis in f"Z{UNNAMED}")


def arranged(values: np.ndarray, axes: str) -> np.ndarray:
    """Values as ``(C, S, Z, Y, X)``, channels and the samples of a pixel apart; axes that are not there have length 1."""
    roles = ["Z" if axis in UNNAMED else axis for axis in axes]
    kept = [place for place, axis in enumerate(roles) if values.shape[place] > 1 or axis in "YX"]
    values = values.reshape([values.shape[place] for place in kept])
    present = [roles[place] for place in kept]
    values = values.transpose([present.index(axis) for axis in "CSZYX" if axis in present])
    return values.reshape(
        [
            values.shape["".join(a for a in "CSZYX" if a in present).index(axis)] if axis in present else 1
            for axis in "CSZYX"
        ]
    )
