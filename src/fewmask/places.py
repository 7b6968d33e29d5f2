"""What stands at a path, asked before fewmask reads or writes there.

A folder may come from somebody else. A link in it must not lead what fewmask writes to files outside, and a pipe or a device in it
must not be read: nothing ever comes out of the one, and no end of the other. Links on the way to the folder that the user names are
the user's own, and are followed.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from fewmask.errors import WriteError

_DATASET = frozenset(
    (".fewmask", "imagesTr", "labelsTr", "imagesUn", "imagesTs", "labelsTs", "confidence", "thumbnails")
)
_RUN = frozenset(("checkpoints", "predictions", "rank", "tensorboard", "wandb"))
_FOLDERS: dict[str, frozenset[str]] = {
    "config.yaml": _RUN,
    "task.json": _RUN,
    "dataset.json": _DATASET,
    "conversion.json": _DATASET,
    "pseudo_labels.json": _DATASET,
}
"""Folders that fewmask makes, by a file beside them that says whose they are."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def special_kind(path: Path) -> str | None:
    """What stands at a path, or where a link there leads, that can be opened but not read as a file; None: nothing of the kind.

    Folders are none of it: to open one fails at once.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever opens it hears why
        return None
    return next((word for is_kind, word in _KINDS[1:] if is_kind(mode)), None)


def refuse_special(path: Path) -> None:
    """See that a file can be read to its end, before it is opened.

    Raises:
        OSError: it is a named pipe, a socket or a device.
    """
    kind = special_kind(path)
    if kind is not None:
        raise OSError(errno.EINVAL, f"it is {kind} and no file", str(path))


def inside(root: Path, *parts: str | os.PathLike[str]) -> Path:
    """``root`` joined with ``parts``, to be written to; links lead to ``root``, but not on from there.

    Raises:
        WriteError: a part is a link.
    """
    path = root
    for part in Path(*parts).parts:
        path = path / part
        if _is_link(path):
            raise _leads_out(path)
    return path


def refuse_links(path: Path) -> None:
    """See that no folder on the way to ``path`` is a link that stands in a run or a data set where fewmask makes a folder of its own.

    Raises:
        WriteError: one is.
    """
    for folder in (path, *path.parents):
        if _is_link(folder) and (
            folder.parent.name == ".fewmask"
            or any(folder.name in names and (folder.parent / mark).is_file() for mark, names in _FOLDERS.items())
        ):
            raise _leads_out(folder)


def refuse_links_in(root: Path, *names: str) -> None:
    """See that what trackers write in place, in ``root/name``, stays below ``root``.

    Their folders of single runs are new each time; those of W&B hold links to its own logs elsewhere, and are left alone.

    Raises:
        WriteError: a link there leads elsewhere.
    """
    home = root.resolve()
    for name in names:
        for path in inside(root, name).glob("*"):
            if _is_link(path) and not path.resolve().is_relative_to(home):
                raise _leads_out(path)


def open_own(path: Path, mode: str) -> IO[bytes]:
    """A file of fewmask's own that is written in place: made where it is not there, and never reached through a link.

    Args:
        path: the file.
        mode: ``ab`` to append, ``r+b`` to read and write; neither cuts what is there.

    Raises:
        WriteError: it is a link, or no file.
        OSError: it cannot be opened.
    """
    if _is_link(path):  # where the system has no NOFOLLOW
        raise _leads_out(path)
    access = os.O_WRONLY | os.O_APPEND if mode == "ab" else os.O_RDWR
    # Without NONBLOCK a pipe that nobody reads would hold the program for ever; files do not know it.
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    flags = access | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | careful
    try:
        file: IO[bytes] = open(path, mode, opener=lambda name, _: os.open(name, flags, 0o666))  # noqa: SIM115
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _leads_out(path) from None
        if special_kind(path):  # which may refuse to be opened so
            raise _no_file(path) from None
        raise
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _no_file(path)
    return file


def _is_link(path: Path) -> bool:
    return os.path.islink(path) or getattr(os.path, "isjunction", os.path.islink)(path)  # noqa: PTH114 (these never raise)


def _leads_out(path: Path) -> WriteError:
    try:
        target = f" to {path.readlink()}"
    except OSError:
        target = ""
    return WriteError(
        f"{path}: is a link{target}, and fewmask writes through no link that it finds in a folder: remove it, or name the place "
        "that you mean on the command line"
    )


def _no_file(path: Path) -> WriteError:
    return WriteError(f"{path}: cannot be written, because it is {special_kind(path) or 'no file'}: remove it")
