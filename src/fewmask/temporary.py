"""Temporary files and folders that say whose they are, so that the next command removes those of a killed one, and no others."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FILE = ".partial-"
FOLDER = ".fewmask-"
_OWNER = re.compile(r"^\.(?:partial|fewmask)-([0-9a-f]{8})\.(\d+)\.(\d+)-")
_OLD = 24 * 3600  # seconds: a writer on another machine cannot be asked whether it lives
_swept: set[tuple[int, Path]] = set()


def temporary_file(target: Path) -> Path:
    """An empty file of this process beside the one that it will replace; the ending stays, since writers choose the format by it.

    Raises:
        OSError: it cannot be made.
    """
    sweep_once(target.parent)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f"{FILE}{_own()}-", suffix=f"-{target.name}"[-60:])
    os.close(handle)
    return Path(name)


@contextlib.contextmanager
def temporary_folder(place: Path) -> Iterator[Path]:
    """A folder of this process in ``place``, gone after the block.

    Raises:
        OSError: it cannot be made.
    """
    sweep_once(place)
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER}{_own()}-", dir=place) as folder:
        yield Path(folder)


def sweep_once(folder: Path) -> None:
    """Remove from a folder what killed commands left there; a process looks at its first write into it and not again.

    Safe while others write there: what a living process made stays. Of a process on another machine nobody knows, so its files go when
    they have not changed for a day; so do files of versions that did not name the owner.
    """
    key = (os.getpid(), folder.absolute())
    if key in _swept:
        return
    _swept.add(key)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((FILE, FOLDER)) and _is_stale(Path(entry.path)):
                remove(Path(entry.path))


def remove(path: Path) -> None:
    """Remove a temporary file or folder, wherever a link in it leads; somebody else may be removing it too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


def is_living(path: Path) -> bool:
    """Whether the process that made a temporary file or folder is known to run."""
    found = _OWNER.match(path.name)
    return found is not None and found[1] == _place() and _runs(int(found[2]), found[3])


def _is_stale(path: Path) -> bool:
    found = _OWNER.match(path.name)
    if found and found[1] == _place() and sys.platform != "win32":
        return not _runs(int(found[2]), found[3])
    if not found and path.is_dir():
        return False  # not known to be ours
    try:
        return time.time() - path.lstat().st_mtime > _OLD
    except OSError:
        return False  # gone


def _own() -> str:
    """Machine, process and its start: a number of a process comes again, but not with the same start."""
    return f"{_place()}.{os.getpid()}.{_start(os.getpid()) or 0}"


@functools.cache
def _place() -> str:
    """Where a process number means the same process: one boot of one machine, and in it one container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _runs(process: int, start: str) -> bool:
    if sys.platform == "win32":  # there os.kill would end it
        return True
    if Path("/proc/self/stat").exists():
        return _start(process) == start
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def _start(process: int) -> str | None:
    """When a process began, in ticks since the machine's start; None if it does not run, or has ended and waits to be buried."""
    try:
        about = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if about[0] in "ZX" else about[19]
