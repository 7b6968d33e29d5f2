"""Files that are written whole or not at all, a full disk included, and JSON that is read without guessing."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fewmask.errors import WriteError
from fewmask.overwrite import refuse_change
from fewmask.places import open_own, refuse_links, refuse_special
from fewmask.temporary import FILE, FOLDER, is_living, remove, temporary_file

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROBE = 1 << 20  # bytes


@contextlib.contextmanager
def replacing(path: Path, keep: Path | None = None, *, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, in one step, when the block ends without an error.

    The temporary name keeps the ending, so that writers which choose the format by it work. Folders above ``path`` are made.

    Args:
        path: the file to write.
        keep: where the file that it replaces goes; none: it is gone.
        overwrite: whether a file with other contents is replaced; one with the same bytes is left as it is.

    Raises:
        WriteError: the folder cannot be written, the disk is full, or see ``overwrite``; ``path`` is as it was before.
    """
    make_folder(path.parent)
    try:
        temporary = temporary_file(path)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        if not overwrite and refuse_change(path, temporary):
            return
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
    except WriteError:  # of a file that was written in the block
        raise
    except Exception as error:
        if disk_is_full(error, path.parent):
            raise write_error(path, error, full=True) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where they are not there.

    Raises:
        WriteError: it cannot be made, or a link in a run or a data set leads there.
    """
    refuse_links(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def disk_is_full(error: BaseException, folder: Path) -> bool:
    """Whether a writer failed for lack of space.

    numpy, torch and SimpleITK report it without the system's reason. Then the disk itself is asked, by writing to it; ask while the
    half-written file is still there.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno in _FULL
        cause = cause.__cause__ or cause.__context__
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(_PROBE))
            os.fsync(probe.fileno())
            return probe.tell() < _PROBE
    except OSError as refusal:
        return refusal.errno in _FULL


def write_error(path: Path, error: BaseException, *, full: bool = False) -> WriteError:
    """The error of a file that could not be written, in a sentence."""
    if full or (isinstance(error, OSError) and error.errno in _FULL):
        return WriteError(
            f"{path}: cannot be written, disk full; free some space there and type the command again "
            "(a training continues with --resume auto); what was there before is whole"
        )
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[-160:]
    return WriteError(f"{path}: cannot be written ({reason}); check the rights to it, or choose another place")


def sweep(folder: Path, keep: str = "") -> None:
    """Remove what killed writers left half written, those of other machines too. Only for who holds the folder.

    Args:
        folder: where to look; it need not exist.
        keep: the name of a file that others may be writing all the same.

    Raises:
        WriteError: a link in a run or a data set leads there.
    """
    refuse_links(folder)
    for stale in (*folder.glob(f"{FILE}*"), *folder.glob(f"{FOLDER}*")):
        if not (keep and stale.name.endswith(f"-{keep}")) and not is_living(stale):
            remove(stale)


def write_text(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write a text file in one step; see `replacing`."""
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(text.encode())


def append_text(path: Path, text: str) -> None:
    """Add to the end of a text file, all of it or nothing, and on the disk before anything that is written after it.

    Raises:
        WriteError: the file is gone, may not be written, or the disk is full.
    """
    try:
        size = path.stat().st_size
        try:
            with open_own(path, "ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            os.truncate(path, size)
            raise
    except OSError as error:
        raise write_error(path, error) from error


def write_json(path: Path, values: Any, *, overwrite: bool = True) -> None:
    """Write plain values as `json_text` in one step; see `replacing`."""
    write_text(path, json_text(values), overwrite=overwrite)


def json_text(values: Any) -> str:
    """Plain values as indented JSON; NaN is refused, because JSON has none."""
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """Plain values from a JSON file, with or without a byte order mark.

    Raises:
        OSError: the file cannot be read, or is a pipe or a device.
        ValueError: it is not JSON, or names a key twice, of which Python would silently keep the last.
    """
    refuse_special(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"it has the key {twice!r} twice")
    return values
