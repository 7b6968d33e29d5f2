"""The errors that users see: one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FewmaskError(Exception):
    """A problem that the user can mend; the command line prints its text without a traceback (exit code 1)."""

    exit_code = 1


class DataError(FewmaskError):
    """A scan, a label or a dataset folder is not what it should be."""


class RunError(FewmaskError):
    """A run folder or a checkpoint cannot be used as asked."""


class FollowerError(RunError):
    """The training has ended for a reason that another of its processes tells; this one ends quietly, with code 0.

    The code that counts is that of the process with the reason: launchers kill everything as soon as one process fails, also the one
    that is about to say why.
    """

    exit_code = 0

    def __init__(self) -> None:
        super().__init__("the training has ended: its main process says why")


class WriteError(FewmaskError):
    """A file cannot be written: the disk is full, or the rights are missing."""


class ConfigError(FewmaskError):
    """A setting, an option or a name is not valid (exit code 2)."""

    exit_code = 2


class FewmaskWarning(UserWarning):
    """Something that works but that the user should know."""


def in_one_line(error: Exception) -> str:
    """The kind and the message of an error that nobody foresaw, for a sentence of ours."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def nearest(name: str, valid: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the closest valid ones, or all of them where none is close.

    Args:
        name: what the user wrote.
        valid: the names that would have been right.
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"valid: {', '.join(names)}"
