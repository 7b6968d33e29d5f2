"""What tells one input from another: keys of file contents, and folder names for case ids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fewmask.data.image import suffix_of, unreadable
from fewmask.places import refuse_special

_COMPANIONS = (".raw", ".zraw", ".json")  # an .mhd keeps its voxels, a .tiff its spacing in a file beside it
_PIECES, _PIECE = 64, 4096  # of a file that a stamp looks into, and their bytes


def digest(*parts: bytes) -> str:
    """BLAKE2 of the parts, 32 hexadecimal digits."""
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def file_digest(path: Path) -> bytes:
    """BLAKE2 of a file's contents: its size and time say too little where data sets are copied or edited in place.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        refuse_special(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    except OSError as error:
        raise unreadable(path, error) from error


def input_key(settings: str, paths: Iterable[Path]) -> str:
    """The key of what is made with these settings of these scans, in this order.

    Raises:
        DataError: a file cannot be read.
    """
    parts = [settings.encode()]
    for path in paths:
        stem = path.name[: -len(suffix_of(path))]
        companions = (path.with_name(stem + ending) for ending in _COMPANIONS)
        parts += [file_digest(part) for part in (path, *companions) if part == path or part.is_file()]
    return digest(*parts)


@dataclass(frozen=True)
class Stamp:
    """What tells cheaply whether a file is still the one that it was.

    Attributes:
        size: in bytes.
        time: of the last change, in nanoseconds.
        sample: a digest of `_PIECES` pieces of the file, spread over it.
    """

    size: int
    time: int
    sample: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The stamp of a file.

        Raises:
            OSError: it cannot be read.
        """
        refuse_special(path)
        found = path.stat()
        mixed = hashlib.blake2b(digest_size=16)
        with path.open("rb") as file:
            for piece in range(_PIECES):
                file.seek(piece * max(found.st_size - _PIECE, 0) // (_PIECES - 1))
                mixed.update(file.read(_PIECE))
        return cls(found.st_size, found.st_mtime_ns, mixed.hexdigest())

    def renewed(self, path: Path) -> Self:
        """The stamp to compare with next time: of a file that was only touched, or copied over itself, the new time.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is another one now.
        """
        found = path.stat()
        if (found.st_size, found.st_mtime_ns) == (self.size, self.time):
            return self
        now = self.of(path)
        if (now.size, now.sample) != (self.size, self.sample):
            raise ValueError("was replaced")
        return now


def folder_name(case_id: str) -> str:
    """A folder name that every file system takes, different for different ids; plain ids stay readable as they are."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", case_id):
        return case_id
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", case_id)[:48]
    return f"{readable}.{digest(case_id.encode('utf-8', 'surrogateescape'))[:16]}"
