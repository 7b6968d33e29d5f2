"""The command line: one module a verb, each parses, calls one function and prints."""

from __future__ import annotations

import sys

from fewmask.allocator import keep_freed_memory
from fewmask.cli.console import STATE, print_error
from fewmask.errors import FewmaskError, FollowerError


def main() -> None:
    """The ``fewmask`` program. Exit code 0: done; 1: a problem with the data or the run; 2: usage; 130: interrupted."""
    from fewmask.cli.app import app

    keep_freed_memory()
    try:
        app(prog_name="fewmask")
    except FewmaskError as error:
        if STATE.debug:
            raise
        if not isinstance(error, FollowerError):
            print_error(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if STATE.debug:
            raise
        if not isinstance(error, BrokenPipeError):  # as in `fewmask methods | head -1`
            print_error(f"{error.filename or 'the system'}: {error.strerror or error}")
        sys.exit(1)
