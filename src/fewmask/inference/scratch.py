"""Arrays that may be larger than memory."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewmask.errors import DataError


@contextmanager
def scratch_array(folder: Path, shape: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    """A float32 array in a nameless file, which is gone after the block: what does not fit into memory lies on the disk.

    Args:
        folder: where the file lies; made if need be.
        shape: of the array.

    Raises:
        DataError: the folder cannot be written, or the disk has no room.
    """
    size = 4 * math.prod(shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed below)
        with_room = getattr(os, "posix_fallocate", None)  # a full disk must show here: later it would kill the program
        if with_room is not None:
            with_room(file.fileno(), 0, size)
    except OSError as error:
        raise DataError(
            f"{folder}: no room for {size / 2**30:.1f} GiB of probabilities ({error.strerror}); free some space, or "
            "predict without probabilities"
        ) from error
    with file:
        yield np.memmap(file, dtype=np.float32, mode="w+", shape=tuple(shape))
