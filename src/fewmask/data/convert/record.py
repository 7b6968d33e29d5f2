"""``conversion.json``: what a dataset folder was made from, so that a conversion that was cut short goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from fewmask.data.convert.base import Plan, Source
from fewmask.data.convert.write import targets
from fewmask.data.layout import Group
from fewmask.errors import DataError
from fewmask.files import read_json, sweep, write_json
from fewmask.places import inside

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


def begin(root: Path, raw: Path, plan: Plan, settings: Mapping[str, Any], dated: bool) -> list[Source]:
    """Make the folder ready and say which cases are still to be written.

    Args:
        root: the dataset folder.
        raw: what the cases lie in.
        plan: the cases.
        settings: the converter and what it was asked for; a folder holds one conversion.
        dated: whether a file of another time is another file; those of an archive are new each time it is unpacked.

    Raises:
        DataError: the folder holds something else.
        WriteError: a folder in it is a link.
    """
    path, cases = root / NAME, {case.id: digest(raw, case, dated) for case in plan.cases}
    before = _read(root, path, settings)
    for folder in ("imagesTr", "labelsTr", "imagesUn", "imagesTs", "labelsTs"):
        sweep(inside(root, folder))
    changed = [case for case in plan.cases if before.get(case.id) != cases[case.id]]
    gone = set(before) - set(cases)
    if gone:
        raise DataError(
            f"{root}: was made from more cases than there are now, {min(gone)!r} among them; complete the raw data or choose another folder"
        )
    for case in changed:
        _remove(root, plan, case)
    write_json(path, {**settings, "cases": cases})
    return [case for case in plan.cases if not _whole(root, plan, case)]


def _read(root: Path, path: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """The cases' fingerprints of an earlier conversion; none where there was none."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return {}
    if not path.is_file():
        raise DataError(f"{root}: is there already and is no conversion that could go on; choose another folder")
    try:
        values = read_json(path)
        cases = dict(values.pop("cases"))
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        raise DataError(f"{path}: cannot be read; delete {root} and convert again") from None
    if values != dict(settings):
        raise DataError(
            f"{root}: was converted by {values.get('converter')!r} with {values.get('settings')}, now {settings['converter']!r} with "
            f"{settings['settings']} is asked for; choose another folder"
        )
    return {str(case): str(value) for case, value in cases.items()}


def _whole(root: Path, plan: Plan, case: Source) -> bool:
    images, label = targets(root, plan, case)
    return all(path.is_file() for path in (*images, *([label] if label else [])))


def _remove(root: Path, plan: Plan, case: Source) -> None:
    """Remove a case's files, in whatever folder an earlier conversion put them."""
    for group in get_args(Group):
        images, label = targets(root, plan, replace(case, group=group, labelled=group != "unlabelled"))
        for path in (*images, *([label] if label else [])):
            path.unlink(missing_ok=True)
