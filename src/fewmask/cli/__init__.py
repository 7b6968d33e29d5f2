"""The command line: one module a verb, each parses, calls one function and prints."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from typing import Any

from fewmask.allocator import keep_freed_memory
from fewmask.cli.console import STATE, print_error, print_warning
from fewmask.cli.streams import lasting_streams
from fewmask.errors import FewmaskError, FewmaskWarning, FollowerError, in_one_line
from fewmask.safe_path import leave_current_folder


def main() -> None:
    """The ``fewmask`` program. Exit code 0: done; 1: a problem with the data or the run; 2: usage; 130: interrupted."""
    leave_current_folder()
    from fewmask.cli.app import app

    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a character of a name must not end the program
        sys.stdout.reconfigure(errors="backslashreplace")
    with lasting_streams():
        _run(app)


def _run(app: Callable[..., Any]) -> None:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            app(prog_name="fewmask")
    except BrokenPipeError:  # as in `fewmask methods | head -1`
        sys.exit(1)
    except Exception as error:
        if STATE.debug:
            raise
        if not isinstance(error, FollowerError):  # the first process says it
            print_error(_sentence(error))
        sys.exit(error.exit_code if isinstance(error, FewmaskError) else 1)


def _sentence(error: Exception) -> str:
    """What an error says to the user; where it was not foreseen, at least how to learn more."""
    if isinstance(error, FewmaskError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{error.filename2 or error.filename or 'the system'}: {error.strerror}; check the path, space and rights"
        )
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in ("allocate memory", "array is too big", "Maximum allowed dimension"))
    ):
        return "out of memory: use a smaller sampling.patch_size, network.width or batch, or a larger machine"
    if str(error).startswith(("Expected more than 1 value per channel", "Expected more than 1 spatial element")):
        return (
            "the deepest level of the network has one value per channel, which its norm cannot scale: use a larger "
            "sampling.patch_size or network.norm=group, or, with batch norm, more patches a batch"
        )
    reason = in_one_line(error)
    if isinstance(error, OverflowError) or "overflow" in reason.lower():
        return f"a number is larger than the machine can count with ({reason}): look at the settings, and at the headers of the scans"
    return f"{reason}; this is a fault of fewmask, which `fewmask --debug VERB ...` shows in full: please report it"


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """Our own warnings in one line; those of libraries are for who debugs."""
    if issubclass(category, FewmaskWarning):
        print_warning(str(message))
    elif STATE.debug:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
