"""Volumes of few distinct values, kept as one or two bytes a voxel and a table of the values.

A scanner stores whole numbers, and normalising keeps their number: 8-bit scans have at most 256 distinct voxel values, CT a few thousand.
The table holds the very float32 values, so decoding gives back every bit whatever the normalisation was. A resampled scan has as many
values as voxels and stays float32.
"""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fewmask.places import refuse_special

Floats = NDArray[np.float32]
CODES = (np.dtype(np.uint8), np.dtype(np.uint16))
# What damaged .npy and .json files raise; numpy tries a header that is no Python once more with Python's own tokenizer.
UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    SyntaxError,
    TokenError,
    MemoryError,
    ArithmeticError,
)
FEWEST_VOXELS_A_VALUE = 16  # a table that is longer costs more than the codes save


class Volume(Protocol):
    """What patches are cut from: an array, or what reads like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sides."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what indexing gives."""

    def __getitem__(self, index: Any, /) -> Any:
        """A part, by slices."""

    def __array__(self) -> Any:
        """All of it."""


def encode(values: Floats) -> tuple[NDArray[Any], Floats] | None:
    """Codes, uint8 or uint16 of the same shape, and the table that turns them back; None where there are too many values.

    Bits are compared, not numbers, so that 0 and -0 stay apart.
    """
    bits = values.view(np.uint32)
    most = min(2**16, values.size // FEWEST_VOXELS_A_VALUE)
    if len(_distinct(bits.ravel()[: 2**18])) > most:  # settles it for a resampled scan without sorting all of it
        return None
    found = _distinct(bits)
    if len(found) > most:
        return None
    codes = np.searchsorted(found, bits).astype(CODES[len(found) > 2**8])
    return codes, found.view(np.float32)


def _distinct(bits: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """As `numpy.unique`, which is ten times slower where the values are many."""
    ordered = np.sort(bits, axis=None)
    return np.asarray(ordered[np.append(True, ordered[1:] != ordered[:-1])])


class Coded:
    """A coded volume that reads like a float32 array: what is indexed is decoded, nothing else.

    Args:
        codes: uint8 or uint16; usually memory-mapped.
        table: the value of each code, float32 ``(n,)``.

    Raises:
        ValueError: that is no such table.
    """

    dtype: np.dtype[Any] = np.dtype(np.float32)

    def __init__(self, codes: NDArray[Any], table: Floats) -> None:
        if table.dtype != self.dtype or table.ndim != 1 or not len(table):
            raise ValueError(f"a table of {table.dtype} {table.shape} decodes nothing")
        self.codes, self.table = codes, table

    @property
    def shape(self) -> tuple[int, ...]:
        """As the codes'."""
        return self.codes.shape

    @property
    def ndim(self) -> int:
        """As the codes'."""
        return self.codes.ndim

    def __getitem__(self, index: Any, /) -> Floats:
        """The values of a part, in memory."""
        # Bounds are never passed; this mode is the one that does not check them first, twice as fast.
        return np.asarray(self.table.take(self.codes[index], mode="wrap"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """All values, in memory."""
        return self[...].astype(dtype or self.dtype, copy=False)


def load_array(path: Path) -> np.ndarray:
    """A small stored array, in memory.

    Raises:
        OSError: it cannot be read, or is a pipe or a device; other errors of numpy where it is damaged.
    """
    refuse_special(path)
    return np.asarray(np.load(path, allow_pickle=False))
