"""What an earlier call wrote: it is replaced where that is asked for, and nothing is asked where nothing would change."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable
from pathlib import Path

from fewmask.errors import WriteError


def refuse_change(path: Path, new: Path) -> bool:
    """Whether ``path`` is there with the bytes of ``new`` already; False where there is nothing yet.

    Raises:
        WriteError: it is there with other contents.
    """
    if not path.is_file():
        return False  # a folder in the way is the writer's to report
    if not filecmp.cmp(path, new, shallow=False):
        raise refusal(path)
    return True


def refuse_text(texts: Iterable[tuple[Path, str]]) -> None:
    """See, before the first of several text files is written, that none replaces one with other contents.

    Raises:
        WriteError: one does.
    """
    for path, text in texts:
        if path.is_file() and path.read_bytes() != text.encode():
            raise refusal(path)


def refusal(path: Path, what: str = "is there already with other contents") -> WriteError:
    """The error of a file that stays as it is.

    Args:
        path: the file.
        what: why it would be lost.
    """
    return WriteError(f"{path}: {what}; add --overwrite (in Python overwrite=True) to replace it, or write elsewhere")
