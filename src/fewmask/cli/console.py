"""How the command line prints: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class State:
    """What the global options set."""

    debug: bool = False


STATE = State()


def console(*, stderr: bool = False) -> Console:
    """A rich console; where the output is no terminal it is wide enough for the tables."""
    from fewmask.cli.terminal import PlainConsole

    made = PlainConsole(stderr=stderr)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = 120
    return made


def say(text: str, style: str | None = None) -> None:
    """One line on standard output."""
    console().print(text, style=style, soft_wrap=True)


def say_next(*words: str | Path) -> None:
    """The last line of a verb: what to type next; a path that looks like an option is written so that it does not."""
    words = tuple(f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else word for word in words)
    say(f"next: {shlex.join(str(word) for word in words)}", style="bold")


def print_json(values: Any) -> None:
    """Plain values as JSON on standard output; what could steer a terminal is escaped, as JSON may."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    sys.stdout.write(re.sub("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", _escaped, text) + "\n")


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def print_error(text: str) -> None:
    """An error in one sentence, on standard error."""
    console(stderr=True).print(f"error: {text}", style="red", soft_wrap=True)


def print_warning(text: str) -> None:
    """Something to know, in one line on standard error."""
    console(stderr=True).print(f"warning: {text}", style="yellow", soft_wrap=True)
