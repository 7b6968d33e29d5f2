"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fewmask.errors import FewmaskWarning, RunError
from fewmask.files import make_folder, write_error
from fewmask.places import open_own

NAME = ".lock"
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_PAUSE = 0.05  # seconds
_held: dict[Path, int] = {}  # by which thread of this process: the system's locks keep only other processes out


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder against every other process that asks for it here.

    The system itself lets go of the lock when the process ends, killed or not, so that none is left behind; the processes that it has
    forked do not hold it. On network file systems that keep no locks there is a warning and no protection.

    Args:
        folder: must exist and be writable.
        wait: until it is free, instead of raising; who holds it already need not wait for itself.

    Raises:
        RunError: somebody else holds it; says who.
    """
    path = folder.absolute() / NAME
    if wait and _held.get(path) == threading.get_ident():
        yield
        return
    file = _take(path, wait)
    try:
        _held[path] = threading.get_ident()
        yield
    finally:
        _let_go(path, file)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """As `locked`, of a folder that is made if need be, and goes again if the block leaves it empty.

    Raises:
        RunError: somebody else holds it; says who.
        WriteError: it cannot be made or written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    make_folder(folder)
    try:
        with locked(folder):
            yield
    finally:
        with contextlib.suppress(OSError):  # not empty
            for place in made:
                place.rmdir()


def is_locked(folder: Path) -> bool:
    """Whether somebody holds a folder, which must exist, at this moment.

    Raises:
        WriteError: one may not write there, and so cannot ask.
    """
    try:
        with locked(folder):
            return False
    except RunError:
        return True


def _take(path: Path, wait: bool) -> IO[str]:
    while True:
        holder = _own_name()
        if path not in _held:  # else to open and close the file would let go of it
            file = _open(path)
            try:
                if _try_lock(file):
                    if _is_at(path, file):
                        _sign(file)
                        return file
                    file.close()  # its last holder has just removed it
                    continue
                file.seek(0)
                holder = file.read() or "another process"
                file.close()
            except KeyboardInterrupt:
                if not file.closed and _try_lock(file) and _is_at(path, file):
                    _let_go(path, file)
                raise
        if not wait:
            raise RunError(
                f"{path.parent} is in use by another call of fewmask ({holder}): wait until it ends, or choose another folder"
            )
        time.sleep(_PAUSE)


def _let_go(path: Path, file: IO[str]) -> None:
    """Removed before it is let go: whoever takes this file afterwards sees that it is no longer in its place."""
    with contextlib.suppress(OSError):
        path.unlink()
    _held.pop(path, None)
    file.close()


def _own_name() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _open(path: Path) -> IO[str]:
    try:
        return io.TextIOWrapper(open_own(path, "r+b"), encoding="utf-8")  # nothing is cut before the lock is held
    except OSError as error:
        raise write_error(path, error) from error


def _sign(file: IO[str]) -> None:
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        os.truncate(file.fileno(), 0)
        os.write(file.fileno(), _own_name().encode())


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether the open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _try_lock(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 30)  # beyond the text, which others may then still read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        warnings.warn(
            f"{file.name} cannot be locked ({error.strerror}): see to it that no second process writes there",
            FewmaskWarning,
            stacklevel=2,
        )
    return True
