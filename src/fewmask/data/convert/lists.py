"""Lists of case names beside the data, as semi-supervised papers pass them around: ``train.list``, ``val.txt``, ``test.list``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fewmask.data.convert.find import files
from fewmask.data.split import Split
from fewmask.errors import DataError

_PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"}
_PARTS |= {"eval": "validation", "test": "test", "testing": "test"}
_MOST = 2**24  # bytes of a list


@dataclass
class Lists:
    """Case names by part, in their order.

    Attributes:
        parts: ``train``, ``validation`` and ``test``, as far as there are lists.
        paths: where each lies.
    """

    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)

    def split(self, cases: Iterable[str]) -> Split | None:
        """The split that the lists say, of the cases that are there; all training labels are seen. None without a training list."""
        there = set(cases)
        parts = {part: tuple(name for name in names if name in there) for part, names in self.parts.items()}
        if not parts.get("train"):
            return None
        names = " and ".join(path.name for path in self.paths.values())
        return Split(
            labelled=parts["train"],
            validation=parts.get("validation", ()),
            test=parts.get("test", ()),
            how=f"as {names} say; all training labels are seen",
        )

    def order(self, cases: Iterable[str]) -> tuple[str, ...] | None:
        """The training list's order, then what else is in ``cases``; None without a training list."""
        if "train" not in self.parts:
            return None
        there = dict.fromkeys(cases)
        first = [name for name in self.parts["train"] if name in there]
        return (*first, *(name for name in there if name not in set(first)))

    def missing(self, cases: Iterable[str]) -> list[str]:
        """A sentence for each list that names cases that are not there."""
        there, sentences = set(cases), []
        for part, names in self.parts.items():
            if gone := [name for name in names if name not in there]:
                sentences.append(
                    f"{self.paths[part]}: names {len(gone)} cases that are not there, {gone[0]!r} among them"
                )
        return sentences


def read_lists(folder: Path) -> Lists:
    """The lists of a folder. A line is a case, perhaps with a path and an ending.

    Raises:
        DataError: there are two lists of one part, a list names a case twice, or a case is in two lists.
    """
    lists = Lists()
    seen: dict[str, Path] = {}
    for path in files(folder, r".*\.(list|txt)"):
        part = _PARTS.get(path.stem.lower())
        if part is None:
            continue
        if part in lists.paths:
            raise DataError(f"{path}: is a list of {part} cases like {lists.paths[part].name}; keep one of the two")
        names = _names(path)
        for name in names:
            if name in seen:
                raise DataError(f"{path}: names {name!r}, which is in {seen[name].name} already; keep it once")
            seen[name] = path
        lists.parts[part], lists.paths[part] = names, path
    return lists


def _names(path: Path) -> tuple[str, ...]:
    if path.stat().st_size > _MOST:
        raise DataError(f"{path}: is too long for a list of cases; take it out of the folder")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no text; save it as UTF-8") from None
    names = [_name(line.strip()) for line in lines if line.strip()]
    if (
        twice := [name for place, name in enumerate(names) if name in names[:place]]
        if len(set(names)) < len(names)
        else []
    ):
        raise DataError(f"{path}: names {twice[0]!r} twice; keep it once")
    return tuple(names)


def _name(line: str) -> str:
    last = PurePosixPath(line.replace("\\", "/")).name
    for ending in (".h5", ".hdf5", ".nii.gz", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"):
        last = last.removesuffix(ending)
    return last
