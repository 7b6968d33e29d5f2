from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from fewmask import allocator, cli

FAULTS = """
import resource, sys
import numpy as np
from fewmask.allocator import keep_freed_memory

set_ = sys.argv[1] == "keep" and keep_freed_memory()
np.ones(8 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    np.ones(8 * 2**20)
print(set_, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **environment: str) -> tuple[bool, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    was_set, count = done.stdout.split()
    return was_set == "True", int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_blocks_are_used_again() -> None:
    """Counted in pages that the kernel had to hand out for eight blocks of 64 MiB, one after the other."""
    was_set, kept = faults("keep")
    _, plain = faults("leave")
    assert was_set
    assert kept < plain / 4
    assert faults("keep", MALLOC_TOP_PAD_="1000000")[0] is False  # the user's own choice stands


class Libc:
    """A C library that refuses what it does not know; ``calls`` are what it was asked for."""

    def __init__(self, highest: int) -> None:
        self.highest, self.calls = highest, []

    def gnu_get_libc_version(self) -> bytes:
        return b"2.31"

    def mallopt(self, name: int, value: int) -> int:
        self.calls.append((name, value))
        return int(name != allocator._MMAP_THRESHOLD or value <= self.highest)


def test_an_old_glibc_that_allows_no_high_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc(highest=32 * 2**20)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    assert allocator.keep_freed_memory()
    assert (allocator._MMAP_MAX, 0) in libc.calls


@pytest.mark.parametrize(("system", "library"), [("darwin", Libc(2**40)), ("linux", object())])
def test_nothing_happens_elsewhere(monkeypatch: pytest.MonkeyPatch, system: str, library: object) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert not allocator.keep_freed_memory()
    assert not getattr(library, "calls", [])


def test_the_program_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: asked.append(True))
    monkeypatch.setattr(sys, "argv", ["fewmask", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert asked
