"""Palettes: a label's class is the index, for that is what a writer of label maps counts by; an image is its colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewmask.errors import DataError

_BLACK = 32  # of 255: greys below it are taken for black


def refuse_reversed(path: Path, indices: np.ndarray, colours: np.ndarray) -> None:
    """Refuse a label whose index and brightness both look like class numbers and differ: white is 0 and black is 1.

    Such a palette is that of a mask, white on black, whose entries came to stand in the other order; or of one that was
    counted by index and is shown dark on light. Nothing in the file tells them apart.

    Args:
        path: opens the error.
        indices: of the label's pixels.
        colours: ``(entries, 3)``, 0 to 255.

    Raises:
        DataError: the entries in use are greys that fall from light to black. Where one alone is in use, and the palette
            has just two, these two.
    """
    used = np.unique(indices).astype(int)
    used = used[used < len(colours)]
    if len(used) == 1 and len(colours) == 2:
        used = np.arange(2)
    shown = colours[used].astype(int)
    greys = shown[:, 0]
    if len(used) < 2 or (shown != greys[:, None]).any():
        return
    if (np.diff(greys) < 0).all() and greys[-1] < _BLACK <= greys[0] // 2:
        raise DataError(
            f"{path}: has a palette whose entry {used[0]} is {_name(greys[0])} and whose entry {used[-1]} is black, so that "
            "either may be the background; save it as a grey PNG whose values are the class numbers"
        )


def _name(grey: int) -> str:
    return "white" if grey == 255 else f"grey {grey}"
