"""Text that says of itself whether it is whole: half a YAML file is often a valid one, with defaults in place of what is gone."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fewmask.files import write_text

_MARK = "# whole: "


def write_whole(path: Path, text: str) -> None:
    """Write a text file in one step, below a first line with the text's digest, which YAML takes for a comment."""
    write_text(path, f"{_MARK}{digest_of(text)}\n{text}")


def read_whole(path: Path) -> str:
    """The text below the first line of `write_whole`; of a file without such a line, all of it.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds nothing, is not what its first line says, or is no text.
    """
    text = path.read_text(encoding="utf-8")
    if not text.strip():
        raise ValueError("it is empty")
    first, _, rest = text.partition("\n")
    if not text.startswith(_MARK[: len(text)]):
        return text  # written by hand, or before there was such a line
    if first != f"{_MARK}{digest_of(rest)}":
        raise ValueError("it was cut short or changed; who changed it on purpose removes its first line")
    return rest


def digest_of(text: str) -> str:
    """BLAKE2 of a text, 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
