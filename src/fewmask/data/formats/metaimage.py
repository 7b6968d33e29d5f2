"""Deflated voxels of MetaImage files: ITK's reader says nothing where they do not unpack, and leaves what was in the memory."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.errors import DataError

_KINDS = {
    "CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "LONG": "i4",
    "ULONG": "u4",
    "LONG_LONG": "i8",
    "ULONG_LONG": "u8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}
_EITHER = 32 + zlib.MAX_WBITS  # with the head of zlib or of gzip
_LAST = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:][^\n]*\n", re.MULTILINE | re.IGNORECASE)


def field(header: bytes, name: str) -> str | None:
    """The value of a key of the header; the last one, as ITK takes it."""
    lines = re.findall(
        rb"^[ \t]*%b[ \t]*[=:][ \t]*([^\r\n]*)" % name.encode(), head(header), re.MULTILINE | re.IGNORECASE
    )
    return lines[-1].decode(errors="replace").strip() if lines else None


def head(start: bytes) -> bytes:
    """The text of the header alone, up to the line that says where the voxels are."""
    last = _LAST.search(start)
    return start[: last.end()] if last else start


def is_true(header: bytes, *names: str) -> bool:
    """Whether one of these keys says so."""
    return any((field(header, name) or "").upper().startswith(("T", "1")) for name in names)


def refuse_wide_longs(path: Path, header: bytes, stored: int, voxels: int) -> None:
    """Numbers of 8 bytes under the name of 4: ITK takes the first half of the bytes for all.

    Raises:
        DataError: the voxels fill exactly twice the bytes that their type says.
    """
    kind = (field(header, "ElementType") or "").removeprefix("MET_").removesuffix("_ARRAY")
    if kind in ("LONG", "ULONG") and not is_true(header, "CompressedData") and stored == 8 * voxels:
        raise DataError(
            f"{path}: says MET_{kind}, which has 4 bytes, but holds 8 for each voxel; write MET_{kind}_LONG into its header"
        )


def unpack(path: Path, start: bytes, file: Path, sides: tuple[int, ...], channels: int) -> np.ndarray | None:
    """The voxels ``(*reversed sides, channels)`` of a deflated file; None of one that is not deflated or of another type.

    Args:
        path: the header's file.
        start: its first bytes, with the whole header.
        file: where the voxels are; ``path`` itself, behind the header, or one beside it.
        sides: voxels per axis, the fastest first.
        channels: numbers a voxel.

    Raises:
        DataError: the stream is damaged, or holds another number of bytes.
    """
    kind = _KINDS.get((field(start, "ElementType") or "").removeprefix("MET_").removesuffix("_ARRAY"))
    if kind is None or not is_true(start, "CompressedData") or field(start, "HeaderSize") not in (None, "0"):
        return None
    order = ">" if is_true(start, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    dtype = np.dtype(f"{order}{kind}")
    wanted = math.prod(sides) * channels * dtype.itemsize
    content = _inflated(file, len(head(start)) if file == path else 0, wanted)
    if len(content) != wanted:
        raise DataError(
            f"{path}: its packed voxels are damaged, {len(content)} bytes where {wanted} belong; copy or export it anew"
        )
    values = np.frombuffer(content, dtype).reshape(*reversed(sides), channels)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _inflated(file: Path, offset: int, wanted: int) -> bytes:
    """What a deflated stream holds, with its checksum right, and not much more than ``wanted`` of it."""
    with file.open("rb") as stream:
        stream.seek(offset)
        packed = stream.read()
    machine: Any = zlib.decompressobj(_EITHER)
    try:
        content: bytes = machine.decompress(packed, wanted + 1)
    except zlib.error:
        return b""
    return content if machine.eof else b""
