"""How the C library keeps freed memory.

A network's feature maps are blocks of many megabytes that live for milliseconds. glibc asks the kernel for each such block anew and
gives it back when it is freed, and the kernel clears every page in between: on a CPU a third of a 3D network's time. Keeping freed
blocks for the next layer changes no result.
"""

from __future__ import annotations

import ctypes
import os
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_KEPT = 2**31 - 1  # bytes at the end of the heap; the largest value that mallopt takes
_OWN_MAPPING = 2**30  # blocks from this size on, whole volumes of many classes, still go back when freed
_STEP = 64 * 2**20  # by which the heap grows
_CHOSEN_BY_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let this process keep up to 2 GiB of freed memory for its next allocations, instead of giving it back at once.

    Training and prediction on a CPU get faster (`docs/performance.md` says by how much) and no result changes; the process
    holds more memory between two steps. The ``fewmask`` program calls this when it starts. Importing fewmask does not,
    because the setting is the whole process's: call it in your own program, before the first tensor.

    Only glibc can do it: elsewhere (musl, macOS, Windows), and where the environment sets glibc's own variables, nothing
    happens.

    Returns:
        Whether the setting was made.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _CHOSEN_BY_USER):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    # glibc before 2.35 allows no threshold above 32 MiB; never to map gives nearly the same.
    keeps = libc.mallopt(_MMAP_THRESHOLD, _OWN_MAPPING) or libc.mallopt(_MMAP_MAX, 0)
    return bool(keeps and libc.mallopt(_TRIM_THRESHOLD, _KEPT) and libc.mallopt(_TOP_PAD, _STEP))
