"""What a DICOM file says before its voxels; pydicom parses it, and odd values stay odd instead of raising."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from fewmask.data.formats.claims import refuse_excess

_ENDINGS = (".dcm", ".ima")
# The first element of a file without the 132 bytes in front: of group 2 or 8, with a known kind of value or a short length.
_BARE = re.compile(rb"[\x02\x08]\0[\0-\x1f]\0(UL|UI|CS|SH|OB\0\0|[\0-\x7f]\0\0\0)", re.DOTALL)
_PIXELS = (b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10")  # the tag of PixelData, in either byte order
_DEFLATED = "1.2.840.10008.1.2.1.99"
_MOST = 2**28  # bytes that one deflated file may become; a slice has a few million
# Ways of storing voxels that are read: plain ones (one of them a maker's), and those that GDCM or pydicom unpacks.
GE = "1.2.840.113619.5.2"
NATIVE = frozenset((*(f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2")), GE))
_PACKED = frozenset(f"1.2.840.10008.1.2.{end}" for end in (*(f"4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)), "5"))


class _TooFarError(Exception):
    """A deflated file that would become too large."""


class Header:
    """The elements of a file before its voxels.

    Attributes:
        path: the file.
        syntax: how it is stored, a transfer syntax.
        kind: its SOP class; empty where it says none.
        has_pixels: whether voxels follow.
    """

    def __init__(self, path: Path, values: Any, stored: int, pixels: int | None) -> None:
        meta = getattr(values, "file_meta", {})
        self.path, self._values, self._stored, self._pixels = path, values, stored, pixels
        self._little = values.original_encoding[1] is not False
        self.syntax = _text(meta, 0x00020010) if meta else ""
        self.kind = self.text(0x00080016) or (_text(meta, 0x00020002) if meta else "")
        self.has_pixels = pixels is not None or "PixelData" in values

    def text(self, tag: int) -> str:
        """A value as text, bytes beyond ASCII as they are; empty where there is none."""
        return _text(self._values, tag)

    def double(self, tag: int) -> str:
        """A number that is kept in eight bytes, as text; empty where there is none."""
        try:
            return f"{self._values[tag].value:g}" if tag in self._values else ""
        except Exception:  # odd bytes, or a list of numbers
            return self.text(tag).encode().hex()

    def description(self, tag: int) -> str:
        """A value as people read it, by the file's character set; as plain text where that is odd."""
        text = self.text(tag)
        if text.isascii() and "\33" not in text:
            return text
        try:
            return str(self._values[tag].value or "").strip()
        except Exception:  # an unknown character set, or bytes that are none of its characters
            return text

    def numbers(self, tag: int, count: int) -> np.ndarray:
        """Decimal numbers.

        Raises:
            ValueError: there are none, another count of them, or odd ones.
        """
        values = np.array([float(part) for part in self.text(tag).split("\\")])
        if values.shape != (count,) or not np.isfinite(values).all():
            raise ValueError
        return values

    def number(self, tag: int) -> float:
        """A number that is kept as text; 0 where it is missing or odd."""
        try:
            value = float(self.text(tag))
        except ValueError:
            return 0.0
        return value if math.isfinite(value) else 0.0

    def short(self, tag: int) -> int:
        """A number that is kept in two bytes; 0 where it is missing or odd."""
        item = self._values.get_item(tag)
        value = item.value if item is not None else 0
        if isinstance(value, bytes):
            value = int.from_bytes(value, "little" if self._little else "big") if len(value) == 2 else 0
        return value if isinstance(value, int) else 0

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.short(0x00280011), self.short(0x00280010)

    def check_voxels(self) -> None:
        """Compare what the header claims with what the file holds.

        Raises:
            ValueError: voxels are missing, or stored in a way that is not read.
        """
        claimed = math.prod(self.size)
        if not self.has_pixels or claimed < 1:
            raise ValueError("is truncated or no DICOM image; copy it again")
        try:
            refuse_excess(claimed, self._stored, packed=True)
        except ValueError as error:
            raise ValueError(f"is no DICOM image: {error}; copy it again") from None
        if self.syntax and self.syntax not in NATIVE | _PACKED:
            raise ValueError(
                f"has voxels stored as {_name(self.syntax)}, which is not read; decompress it, as gdcmconv --raw does"
            )
        if self.syntax in NATIVE - {_DEFLATED} and self._pixels is not None:
            need = math.ceil(claimed * max(self.short(0x00280100), 1) / 8)
            if self._pixels < need:
                raise ValueError(
                    f"is truncated: it has {self._pixels} bytes of voxels where its size needs {need}; copy it again"
                )


def _text(values: Any, tag: int) -> str:
    item = values.get_item(tag)
    value = item.value if item is not None else ""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    return text.strip("\0 ")


def _name(syntax: str) -> str:
    from pydicom.uid import UID

    return UID(syntax).name if re.fullmatch(r"[\d.]{1,64}", syntax) else "an unknown transfer syntax"


def read_header(path: Path) -> Header | None:
    """The header of a file; None where it is no DICOM file.

    Raises:
        ValueError: it should be one, by its name or its first bytes, and cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(1024)
        marked = start[128:132] == b"DICM"
        named = path.suffix.lower() in _ENDINGS
        if not (marked or named or _BARE.match(start)):
            return None
        try:
            deflated = marked and _DEFLATED.encode() in start
            if deflated and _inflates_too_far(file):
                raise _TooFarError
            file.seek(0)
            values = parse(file, before_pixels=not deflated)
            pixels = _pixels(file)
            header = Header(path, values, file.seek(0, 2), pixels)
        except ImportError:
            raise
        except _TooFarError:
            raise ValueError(f"inflates to more than {_MOST >> 20} MiB, which no slice does; leave it out") from None
        except Exception as error:  # pydicom raises a dozen kinds over damaged files
            if not (marked or named):
                return None
            raise ValueError(f"is truncated or no DICOM image ({type(error).__name__}); copy it again") from None
    if header.kind or header.has_pixels:
        return header
    if not (marked or named):
        return None
    raise ValueError("is truncated or no DICOM image; copy it again")


def parse(file: IO[bytes] | Path, *, before_pixels: bool = False) -> Any:
    """A data set as pydicom reads it, whether or not 132 bytes stand in front; values are not judged."""
    import pydicom
    from pydicom.config import disable_value_validation

    with disable_value_validation():
        return pydicom.dcmread(file, stop_before_pixels=before_pixels, force=True)


def _pixels(file: IO[bytes]) -> int | None:
    """How many bytes of voxels the file really has from here on; None where none begin here."""
    head = file.read(12)
    if head[:4] not in _PIXELS or len(head) < 12:
        return None
    plain = head[4:6].isalpha()
    length = head[8:12] if plain else head[4:8]
    claimed = int.from_bytes(length, "little" if head[:4] == _PIXELS[0] else "big")
    here = file.tell() - (0 if plain else 4)
    return min(claimed, file.seek(0, 2) - here)


def _inflates_too_far(file: IO[bytes]) -> bool:
    """Inflate a file into nothing first: pydicom would do it at once in memory, however much it becomes."""
    file.seek(132)
    head = file.read(12)
    if head[:4] != b"\x02\0\0\0":
        raise ValueError
    file.seek(144 + int.from_bytes(head[8:12], "little"))
    unpack, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while size <= _MOST and not unpack.eof and (piece := unpack.unconsumed_tail or file.read(2**16)):
        size += len(unpack.decompress(piece, 2**20))
    return size > _MOST
