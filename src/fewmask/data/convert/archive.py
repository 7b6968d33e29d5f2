"""Unpacking archives of strangers: plain files inside one folder, within a stated budget, or nothing."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fewmask.errors import DataError
from fewmask.files import disk_is_full, make_folder, write_error
from fewmask.names import is_safe
from fewmask.temporary import temporary_folder

_TAR = (".tar", ".tar.gz", ".tgz")
_DRIVE = re.compile(r"[A-Za-z]:")
_CHUNK = 1 << 20
_HEADER = 1 << 24  # bytes of a name or of what else a tar says of a file, and of a part that is copied
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)


@dataclass(frozen=True)
class Budget:
    """What an archive may ask for.

    Attributes:
        bytes: in all, unpacked.
        files: entries of any kind.
        ratio: unpacked bytes for each byte of the archive; deflate alone reaches 1032, a data set of scans and label maps about 10.
        free: unpacked bytes up to which the ratio does not matter: a few label maps are mostly zeros.
    """

    bytes: int = 500 * 2**30
    files: int = 1_000_000
    ratio: int = 100
    free: int = 256 * 2**20


def is_archive(path: Path) -> bool:
    """Whether a file's name says that it is an archive that `unpacked` reads."""
    return path.is_file() and path.name.lower().endswith((".zip", *_TAR))


@contextlib.contextmanager
def unpacked(archive: Path, place: Path, *, keep: bool = False, budget: Budget | None = None) -> Iterator[Path]:
    """A folder with the files of an archive.

    Only plain files and folders come out, with default rights. An archive that holds anything else, or a name that leads elsewhere, is
    refused as a whole.

    Args:
        archive: ``.zip``, ``.tar``, or a packed tar.
        place: the folder to unpack to, where it is kept; else a temporary folder is made in it and removed at the end.
        keep: leave the files there. A folder that is there already must be an archive's that was unpacked whole.
        budget: how much may come out; none: `Budget`.

    Raises:
        DataError: the archive is damaged, locked, hostile or too large.
        WriteError: the disk is full, or the place cannot be written.
    """
    budget = budget or Budget()
    if keep:
        if not place.is_dir():
            make_folder(place.parent)
            with _temporary(place.parent) as folder:
                _unpack(archive, folder / "whole", budget)
                (folder / "whole").replace(place)
        elif not any(place.iterdir()):
            raise DataError(f"{place}: is there already and is empty; give a folder that does not exist")
        yield place
        return
    make_folder(place)
    with _temporary(place) as folder:
        _unpack(archive, folder / "whole", budget)
        yield folder / "whole"


@contextlib.contextmanager
def _temporary(place: Path) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary_folder(place))
        except OSError as error:
            raise write_error(place, error) from error
        yield folder


def _unpack(archive: Path, folder: Path, budget: Budget) -> None:
    make_folder(folder)
    meter = _Meter(archive, budget)
    try:
        if archive.name.lower().endswith(".zip"):
            _unzip(archive, folder, meter)
        else:
            _untar(archive, folder, meter)
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{archive}: is damaged or of another kind ({reason}); download it again") from error
    except OSError as error:
        if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
            raise DataError(
                f"{archive}: holds {error.filename} twice; do not trust it, and unpack it by hand"
            ) from None
        if error.errno is None:  # gzip says so of broken data
            raise DataError(f"{archive}: is damaged ({error}); download it again") from error
        raise write_error(folder, error, full=disk_is_full(error, folder)) from error


class _Meter:
    """Counts what comes out, whatever the headers claim."""

    def __init__(self, archive: Path, budget: Budget) -> None:
        self.archive, self.budget = archive, budget
        self.most = min(budget.bytes, max(budget.free, budget.ratio * archive.stat().st_size))
        self.bytes = self.files = 0

    def add(self, size: int) -> None:
        """Bytes about to be written."""
        self.bytes += size
        if self.bytes > self.most:
            raise DataError(
                f"{self.archive}: unpacks to more than {self.most / 2**20:.0f} MiB, which no archive of its size should "
                f"({self.budget.ratio} times its size, {self.budget.bytes / 2**30:g} GiB at most); unpack it yourself if you trust it"
            )

    def entry(self) -> None:
        """One more entry."""
        self.files += 1
        if self.files > self.budget.files:
            raise DataError(
                f"{self.archive}: holds more than {self.budget.files} files; unpack it yourself if you trust it"
            )


def _target(archive: Path, folder: Path, name: str) -> Path:
    """Where an entry goes; refuses what leads out of the folder or means something else on another system."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or _DRIVE.match(name) or not is_safe(name):
        raise DataError(
            f"{archive}: holds {name[:200]!a}, which leads out of its folder or is no name; do not trust it"
        )
    return folder.joinpath(*parts)


def _refuse_kind(archive: Path, name: str) -> DataError:
    return DataError(f"{archive}: holds {name[:200]!a}, a link or a device and no plain file; do not trust it")


def _unzip(archive: Path, folder: Path, meter: _Meter) -> None:
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        for entry in entries:  # all are looked at before the first is written
            meter.entry()
            _target(archive, folder, entry.orig_filename)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refuse_kind(archive, entry.filename)
            if entry.flag_bits & 0x1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                why = "locked by a password" if entry.flag_bits & 0x1 else "packed in an unusual way"
                raise DataError(f"{archive}: is {why}; unpack it yourself and give the folder")
        claimed = sum(entry.file_size for entry in entries)
        meter.add(claimed)
        _refuse_full_disk(folder, claimed)
        meter.bytes = 0
        for entry in entries:
            target = _target(archive, folder, entry.orig_filename)
            if entry.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            with opened.open(entry) as source:
                _copy(source, target, meter)


def _untar(archive: Path, folder: Path, meter: _Meter) -> None:
    with archive.open("rb") as start:
        packed = start.read(2) == b"\x1f\x8b"
    with (gzip.open if packed else Path.open)(archive, "rb") as stream:
        careful: Any = _Careful(stream)
        opened = tarfile.TarFile(fileobj=careful)
        for entry in opened:
            meter.entry()
            target = _target(archive, folder, entry.name) if entry.name not in (".", "./") else folder
            if entry.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            source = opened.extractfile(entry) if entry.isreg() and not entry.issparse() else None
            if source is None:
                raise _refuse_kind(archive, entry.name)
            if meter.bytes + entry.size > meter.most:
                meter.add(entry.size)
            with source:
                _copy(source, target, meter)


class _Careful:
    """A file that is read in small parts only: a header may claim to be gigabytes long, and tarfile would read it at once."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER:
            raise tarfile.ReadError("a header without end")
        return bytes(self.stream.read(size))


def _copy(source: IO[bytes], target: Path, meter: _Meter) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:  # never onto something that is there
        while chunk := source.read(_CHUNK):
            meter.add(len(chunk))
            file.write(chunk)


def _refuse_full_disk(folder: Path, needed: int) -> None:
    if needed > shutil.disk_usage(folder).free:
        raise write_error(folder, OSError(28, os.strerror(28)))
