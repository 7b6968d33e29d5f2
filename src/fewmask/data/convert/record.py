"""``conversion.json``: what a dataset folder was made from, so that a conversion that was cut short goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from fewmask.data.convert.base import Plan, Source
from fewmask.data.convert.write import targets
from fewmask.data.layout import IMAGE_FOLDERS, Group
from fewmask.errors import DataError
from fewmask.files import read_json, sweep, write_json
from fewmask.locks import NAME as LOCK
from fewmask.overwrite import refusal, refuse_change
from fewmask.places import inside
from fewmask.temporary import FILE

NAME = "conversion.json"


def digest(raw: Path, case: Source, dated: bool) -> str:
    """A fingerprint of the names, sizes and, where ``dated``, times of a case's files, and of where it goes."""
    made = hashlib.sha256(f"{case.group}{case.labelled}".encode())
    for path in case.files:
        name = path.relative_to(raw) if path.is_relative_to(raw) else path
        about = path.stat()
        made.update(f"\0{name.as_posix()}\0{about.st_size}".encode(errors="surrogateescape"))
        if dated:
            made.update(f"\0{about.st_mtime_ns}".encode())
    return made.hexdigest()[:16]


@dataclass(frozen=True)
class Todo:
    """What a conversion still has to do.

    Attributes:
        standing: cases that an earlier conversion wrote, or began, from other files than there are now.
        missing: cases that are not there, or not whole.
        described: the digest of the ``dataset.json`` that an earlier conversion wrote, or None.
    """

    standing: list[Source]
    missing: list[Source]
    described: str | None


def begin(root: Path, raw: Path, plan: Plan, settings: Mapping[str, Any], dated: bool) -> Todo:
    """Make the folder ready and say which cases are still to be written; the record of ``standing`` ones stays until `settle`.

    Args:
        root: the dataset folder; it exists and is held.
        raw: what the cases lie in.
        plan: the cases.
        settings: the converter and what it was asked for; a folder holds one conversion.
        dated: whether a file of another time is another file; those of an archive are new each time it is unpacked.

    Raises:
        DataError: the folder holds something else.
        WriteError: a folder in it is a link.
    """
    path, cases = root / NAME, {case.id: digest(raw, case, dated) for case in plan.cases}
    before, described = _read(root, path, settings)
    for folder in ("", "imagesTr", "labelsTr", "imagesUn", "imagesTs", "labelsTs"):
        sweep(inside(root, folder))
    gone = set(before) - set(cases)
    if gone:
        raise DataError(
            f"{root}: was made from more cases than there are now, {min(gone)!r} among them; complete the raw data or choose another folder"
        )
    changed = [case for case in plan.cases if before.get(case.id) != cases[case.id]]
    standing = [case for case in changed if any(file.is_file() for file in _everywhere(root, plan, case))]
    kept = {case.id for case in standing}
    known = {case: value for case, value in cases.items() if case not in kept}
    known |= {case: value for case, value in before.items() if case in kept}
    _record(path, settings, plan, known, described)
    missing = [case for case in plan.cases if case.id not in kept and not _whole(root, plan, case)]
    return Todo(standing, missing, described)


def settle(root: Path, raw: Path, plan: Plan, settings: Mapping[str, Any], *, dated: bool, described: str) -> None:
    """Put on record that all cases are as the raw data are now.

    Args:
        root: the dataset folder.
        raw: what the cases lie in.
        plan: the cases.
        settings: as for `begin`.
        dated: as for `begin`.
        described: the digest of ``dataset.json``.
    """
    _record(root / NAME, settings, plan, {case.id: digest(raw, case, dated) for case in plan.cases}, described)


def leave_old_place(root: Path, plan: Plan, case: Source, *, overwrite: bool) -> None:
    """Remove the files of a case that was written into another folder now; one that differs from the new one stays.

    Raises:
        WriteError: such a file stays.
    """
    images, label = targets(root, plan, case)
    new = {path.name: path for path in images} | ({f"label {label.name}": label} if label else {})
    for old in _everywhere(root, plan, case) - {*new.values()}:
        if not old.is_file():
            continue
        same = new.get(old.name if old.parent.name in IMAGE_FOLDERS else f"label {old.name}")
        if not overwrite and not (same and refuse_change(old, same)):
            raise refusal(old, "belongs to a case that has no label any more")
        old.unlink()


def _record(
    path: Path, settings: Mapping[str, Any], plan: Plan, cases: Mapping[str, str], described: str | None
) -> None:
    whole = {"described": described} if described else {}
    write_json(path, {**settings, **whole, "notes": plan.notes, "cases": cases})


def _read(root: Path, path: Path, settings: Mapping[str, Any]) -> tuple[dict[str, str], str | None]:
    """The fingerprints of an earlier conversion's cases, none where there was none, and of its ``dataset.json``."""
    if all(
        entry.name == LOCK or entry.name.startswith(FILE) for entry in root.iterdir()
    ):  # or the record was cut short
        return {}, None
    if not path.is_file():
        raise DataError(f"{root}: is there already and is no conversion that could go on; choose another folder")
    try:
        values = read_json(path)
        cases, described = dict(values.pop("cases")), values.pop("described", None)
        values.pop("notes", None)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        raise DataError(f"{path}: cannot be read; delete {root} and convert again") from None
    if values != dict(settings):
        raise DataError(
            f"{root}: was converted by {values.get('converter')!r} with {values.get('settings')}, now {settings['converter']!r} with "
            f"{settings['settings']} is asked for; choose another folder"
        )
    return {str(case): str(value) for case, value in cases.items()}, described


def _whole(root: Path, plan: Plan, case: Source) -> bool:
    images, label = targets(root, plan, case)
    return all(path.is_file() for path in (*images, *([label] if label else [])))


def _everywhere(root: Path, plan: Plan, case: Source) -> set[Path]:
    """A case's files in whatever folder an earlier conversion put them."""
    places = (
        targets(root, plan, replace(case, group=group, labelled=group != "unlabelled")) for group in get_args(Group)
    )
    return {path for images, label in places for path in (*images, *([label] if label else []))}
