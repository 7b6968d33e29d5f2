"""Batches on their way from a loader process to the training: through shared memory, and where that cannot be, by value.

torch moves tensors to shared memory in a thread of the loader process, and hands them over by a socket among the temporary files. Of
errors there nobody hears: a batch that found no room, or no socket, would never come, and the training would wait for it for good.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from fewmask.data.batch import Batch
from fewmask.errors import FewmaskWarning

_LONGEST_SOCKET = 107 if sys.platform == "linux" else 103  # bytes of a path
_SOCKET = "/pymp-xxxxxxxx/listener-xxxxxxxx"
_LONG = (
    "the path of the folder for temporary files ({}) is too long for sockets, so batches travel more slowly; "
    "set TMPDIR to a shorter one"
)
_FULL = "shared memory (/dev/shm) is full, so {}; give the machine or the container more (docker: --shm-size)"


@dataclass(frozen=True)
class ByValue:
    """A batch whose tensors travel as arrays, which are written into the pipe between two processes."""

    values: dict[str, Any]
    why: str

    @classmethod
    def of(cls, batch: Batch, why: str) -> ByValue:
        """Of a batch of tensors on the processor; ``why`` is what the user is told."""
        values = {field.name: getattr(batch, field.name) for field in fields(batch)}
        return cls(
            {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in values.items()}, why
        )

    def batch(self) -> Batch:
        """The batch, as it was."""
        arrays = self.values.items()
        values: dict[str, Any] = {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in arrays
        }
        return Batch(**values)


def sent(batch: Batch) -> Batch | ByValue:
    """A batch as a loader process hands it over; in the main process the batch itself."""
    if get_worker_info() is None:
        return batch
    place = tempfile.gettempdir()
    if sys.platform != "win32" and len(os.fsencode(place)) + len(_SOCKET) > _LONGEST_SOCKET:
        return ByValue.of(batch, _LONG.format(place))
    try:
        return batch.map(torch.Tensor.share_memory_)
    except RuntimeError:  # torch says so where there is no room, or no shared memory at all
        return ByValue.of(batch, _FULL.format("batches travel more slowly"))


def received(items: Iterator[Any]) -> Iterator[Any]:
    """What `sent` handed over, as batches again; the first that came by value is told."""
    told = False
    for item in items:
        if isinstance(item, ByValue) and not told:
            told = True
            warnings.warn(item.why, FewmaskWarning, stacklevel=2)
        yield item.batch() if isinstance(item, ByValue) else item


def begun(start: Callable[[int], Iterator[Any]], workers: int) -> Iterator[Any]:
    """A loader with its processes; without them where shared memory has no room even for their locks.

    Args:
        start: makes the loader with so many processes.
        workers: as many as are wanted.
    """
    try:
        return start(workers)
    except OSError as error:
        if not workers or error.errno != errno.ENOSPC:
            raise
        warnings.warn(_FULL.format("patches are loaded without processes of their own"), FewmaskWarning, stacklevel=2)
        return start(0)
