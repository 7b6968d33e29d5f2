"""Names that other people gave to files, cases, classes and channels: what they may do to a terminal, a file name, an encoder."""

from __future__ import annotations

import re

from fewmask.errors import DataError

# Control characters (terminal escapes among them), line separators, marks that reverse the reading direction, halves of characters
# (which is how bytes that are no UTF-8 reach a file name).
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_TEXT = re.compile("(?![\n\t])" + _UNSAFE.pattern)


def is_safe(name: str) -> bool:
    """Whether a name can be shown and written: no control character, nothing that turns the direction, valid Unicode."""
    return _UNSAFE.search(name) is None


def check_name(name: str, where: str) -> str:
    """The name, if it is safe.

    Args:
        name: what somebody wrote.
        where: the file or folder that it stands in, and what it is; opens the error.

    Raises:
        DataError: it is not.
    """
    if not is_safe(name):
        raise DataError(
            f"{where} {name!a} holds control characters or bytes that are no text; rename it with plain letters"
        )
    return name


def shown(text: str) -> str:
    """Text for a terminal: unsafe characters but line breaks and tabs as their escape codes, so that they do nothing."""
    return _UNSAFE_IN_TEXT.sub(lambda match: ascii(match[0])[1:-1], text)


def file_parts(names: list[str]) -> list[str]:
    """Names as parts of file names on any system, all different; what a file system could take amiss becomes ``-``."""
    parts = [re.sub(r"[^\w .()+=-]", "-", name)[:80] for name in names]
    alike = len({part.casefold() for part in parts}) < len(parts)
    return [f"{place}-{part}" for place, part in enumerate(parts)] if alike else parts
