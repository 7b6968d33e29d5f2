"""Finding the parts of a downloaded data set, and saying in one sentence what is not as it should be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fewmask.errors import DataError
from fewmask.files import read_json
from fewmask.names import check_name

# Left behind by archivers and file managers.
_JUNK = re.compile(r"\..*|__MACOSX|Thumbs\.db|desktop\.ini", re.DOTALL)


def wrong_layout(raw: Path, expected: str, found: str = "") -> DataError:
    """The error of a folder that is laid out in another way.

    Args:
        raw: the folder.
        expected: what should be in it, with an example of a path.
        found: what is there instead; none: its first names.
    """
    there = found or _first_names(raw)
    packed = [path.name for path in files(raw, r".*\.(zip|tar|tar\.gz|tgz|rar|7z)")]
    remedy = f"unpack {packed[0]} first" if packed else "give the folder that holds it"
    return DataError(f"{raw}: expected {expected}, but found {there}; {remedy}")


def _first_names(folder: Path, most: int = 4) -> str:
    names = [f"{path.name}/" if path.is_dir() else path.name for path in listed(folder)]
    if not names:
        return "nothing"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def listed(folder: Path, pattern: str = "") -> list[Path]:
    """What lies in a folder, by name; hidden files and what archivers leave behind are left out.

    Args:
        folder: where; nothing is found where there is none.
        pattern: a regular expression that must fit the whole name, upper and lower case alike; none: all.

    Raises:
        DataError: a name holds control characters.
    """
    if not folder.is_dir():
        return []
    fits = re.compile(pattern or ".*", re.IGNORECASE | re.DOTALL)
    names = sorted(
        path.name for path in folder.iterdir() if not _JUNK.fullmatch(path.name) and fits.fullmatch(path.name)
    )
    return [folder / check_name(name, f"{folder}: the name") for name in names]


def folders(folder: Path, pattern: str = "") -> list[Path]:
    """The folders among what `listed` finds."""
    return [path for path in listed(folder, pattern) if path.is_dir()]


def files(folder: Path, pattern: str = "") -> list[Path]:
    """The files among what `listed` finds."""
    return [path for path in listed(folder, pattern) if path.is_file()]


def descend(raw: Path, is_it: Callable[[Path], bool], depth: int = 2, *, alone: bool = False) -> Path | None:
    """The folder that ``is_it``: ``raw`` itself or, because archives wrap what they hold, one up to ``depth`` levels below it.

    Args:
        raw: where to begin.
        is_it: what it must be.
        depth: how many levels to look at below.
        alone: whether a second one beside it is an error; otherwise the first by name is taken.

    Raises:
        DataError: there is a second one.
    """
    level = [raw]
    for _ in range(depth + 1):
        found = [folder for folder in level if is_it(folder)]
        if alone and len(found) > 1:
            names = ", ".join(folder.name for folder in found[:4])
            raise DataError(f"{raw}: holds {len(found)} data sets, {names}; give one of these folders")
        if found:
            return found[0]
        level = [inner for folder in level for inner in folders(folder)]
    return None


def paired(
    images: Iterable[Path], masks: Iterable[Path], image_id: Callable[[Path], str], mask_id: Callable[[Path], str]
) -> tuple[dict[str, tuple[Path, Path | None]], list[Path]]:
    """Images with the masks of the same id.

    Returns:
        Image and mask, or None, by id; and the masks without an image.

    Raises:
        DataError: two images, or two masks, have one id.
    """
    scans, labels = by_id(images, image_id), by_id(masks, mask_id)
    return (
        {case: (path, labels.get(case)) for case, path in scans.items()},
        [path for case, path in labels.items() if case not in scans],
    )


def by_id(paths: Iterable[Path], id_of: Callable[[Path], str]) -> dict[str, Path]:
    """Paths by id, in their order.

    Raises:
        DataError: two have the same.
    """
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(id_of(path), path)
        if other is not path:
            raise DataError(f"{path}: is the case {id_of(path)!r} like {other}; keep one of the two")
    return found


def stem(path: Path) -> str:
    """A file's name without its ending, ``.nii.gz`` in full."""
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def inside(root: Path, name: object, where: Path) -> Path:
    """A file that a list names, which must lie below ``root``.

    Args:
        root: the folder that names are relative to.
        name: what the list says.
        where: the list, for the error.

    Raises:
        DataError: it leads elsewhere, is no name, or does not exist.
    """
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: names {name!r} where a file was expected; mend it")
    path = root / check_name(name, f"{where}: the file")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{where}: names {name!r}, which lies outside {root}; copy the files there")
    if not path.is_file():
        raise DataError(f"{where}: names {name!r}, but {path} does not exist; complete the download")
    return path


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        DataError: it is missing, is no JSON or holds something else.
    """
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); download it again") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: must hold an object, but holds a {type(values).__name__}; download it again")
    return values
