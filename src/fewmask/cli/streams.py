"""Standard streams that a work of hours may outlive: a terminal that was closed, a pipe whose reader is gone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fewmask.errors import WriteError
from fewmask.places import open_own

_ESCAPE = "\x1b"


class Lasting:
    """A text stream that takes what is written when its other end is gone, instead of raising.

    Args:
        stream: what it writes to as long as that works.

    Attributes:
        broken: whether its other end is gone.
        log: a file that gets the lines which nobody hears any more; None: they are lost.
    """

    def __init__(self, stream: Any) -> None:
        self.stream, self.broken = stream, False
        self.log: Path | None = None

    def write(self, text: str) -> int:
        """Write to the stream, or to the log."""
        if not self.broken:
            try:
                self.stream.write(text)
                self.stream.flush()
                return len(text)
            except (OSError, ValueError):  # ValueError: the file is closed
                self.broken = True
        if self.log is not None and _ESCAPE not in text:  # a bar's movements are for terminals
            with contextlib.suppress(OSError, WriteError), open_own(self.log, "ab") as file:
                file.write(text.encode(errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Every write is flushed already."""

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's: whether it is a terminal, its encoding, its number."""
        return getattr(self.stream, name)


@contextlib.contextmanager
def lasting_streams() -> Iterator[None]:
    """Standard error that never ends the program, for the block; streams that were closed before the start lead nowhere."""
    _fill_closed()
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = before[0] or nowhere, Lasting(before[1] or nowhere)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def _fill_closed() -> None:
    """Open the null device where a standard stream was closed.

    Else the next file that is opened gets its number, and what C libraries say ends up in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            while os.open(os.devnull, os.O_RDWR) < number:  # the lowest free number is taken
                pass
