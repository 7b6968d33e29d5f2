"""How the command line prints: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console


@dataclass
class State:
    """What the global options set."""

    debug: bool = False


STATE = State()


def console(*, stderr: bool = False) -> Console:
    """A rich console; where the output is no terminal it is wide enough for the tables."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = 120
    return made


def say(text: str, style: str | None = None) -> None:
    """One line on standard output; square brackets in names stay as they are."""
    console().print(text, style=style, markup=False, soft_wrap=True)


def say_next(*words: str | Path) -> None:
    """The last line of a verb: what to type next."""
    say(f"next: {shlex.join(str(word) for word in words)}", style="bold")


def print_json(values: Any) -> None:
    """Plain values as JSON on standard output."""
    sys.stdout.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def print_error(text: str) -> None:
    """An error in one sentence, on standard error."""
    console(stderr=True).print(f"error: {text}", style="red", markup=False, soft_wrap=True)


def print_warning(text: str) -> None:
    """Something to know, in one line on standard error."""
    console(stderr=True).print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)
