"""From a downloaded data set to a dataset folder, case by case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewmask.config import validate
from fewmask.data.convert.archive import is_archive, unpacked
from fewmask.data.convert.base import CONVERTERS, Plan, Source
from fewmask.data.convert.record import begin, leave_old_place, settle
from fewmask.data.convert.splits import published_notes, published_order, published_splits, published_test
from fewmask.data.convert.write import label_ending, write_case
from fewmask.data.dataset import Dataset
from fewmask.data.split_file import read_splits, refuse_other, write_split
from fewmask.errors import DataError
from fewmask.files import json_text, write_text
from fewmask.locks import held
from fewmask.names import is_safe
from fewmask.overwrite import refuse_text
from fewmask.whole import digest_of

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        dataset: the dataset folder.
        written: cases written now; the others were there.
        splits: names of the splits that were saved.
        notes: what the user should know.
        missing: what is not as published; a warning each.
    """

    dataset: Dataset
    written: int
    splits: list[str]
    notes: list[str]
    missing: list[str]


def convert(
    name: str,
    raw: Path,
    root: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    unpack: Path | None = None,
    geometry: GeometryChoice = "header",
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Conversion:
    """Convert a data set. One that was cut short goes on with the first case that is missing; nothing in ``raw`` is changed.

    Args:
        name: of the converter.
        raw: the downloaded folder, or an archive of it.
        root: the dataset folder to write; new, or of a conversion that was cut short.
        settings: of the converter.
        unpack: where an archive is unpacked to, and stays; none: beside ``root``, and removed at the end.
        geometry: what says where voxels lie, see `fewmask.data.convert.write.write_case`.
        overwrite: replace files of an earlier conversion with other contents: of cases that have changed since, of ``dataset.json``
            where somebody edited it, of splits of the same name.
        progress: is told cases done and cases in all.

    Raises:
        ConfigError: there is no such converter or setting.
        DataError: ``raw`` is laid out in another way, a file is damaged, or ``root`` holds something else.
        RunError: another process is converting into ``root``; says which.
        WriteError: the disk is full, or see ``overwrite``.
    """
    kind = CONVERTERS[name]
    config = validate(kind.Config, settings or {}, f"settings of {name}")
    if not raw.exists():
        raise DataError(f"{raw}: does not exist; give the folder or the archive that was downloaded")
    if not raw.is_dir() and not is_archive(raw):
        raise DataError(f"{raw}: is neither a folder nor a .zip, .tar, .tar.gz or .tgz archive; give one of these")
    _refuse_nested(raw, root)
    if root.is_file():
        raise DataError(f"{root}: is a file; choose another folder")
    with (
        held(root),
        unpacked(raw, unpack or root.parent, keep=unpack is not None)
        if not raw.is_dir()
        else nullcontext(raw) as folder,
    ):
        plan = kind(config).plan(folder)
        _check(folder, plan)
        plan.cases = _placed(plan.cases, published_test(kind.published, plan.cases))
        said = {} if geometry == "header" else {"geometry": geometry}
        asked = {"converter": name, "settings": config.model_dump(mode="json") | said}
        todo = begin(root, folder, plan, asked, dated=raw.is_dir())
        text = json_text(_description(plan, kind.published))
        if not overwrite:
            _refuse_edited(root, plan, text, todo.described)
        written, total = len(todo.standing) + len(todo.missing), len(plan.cases)
        for number, case in enumerate([*todo.standing, *todo.missing]):
            progress(total - written + number, total)
            write_case(root, plan, case, geometry, overwrite=overwrite)
            if case in todo.standing:
                leave_old_place(root, plan, case, overwrite=overwrite)
        progress(total, total)
        write_text(root / "dataset.json", text)
        settle(root, folder, plan, asked, dated=raw.is_dir(), described=digest_of(text))
        return _finish(root, plan, kind.published, written, overwrite)


def _refuse_edited(root: Path, plan: Plan, text: str, described: str | None) -> None:
    """Refuse, before a case is written, to replace a ``dataset.json`` that somebody edited, or another split of the same name."""
    path = root / "dataset.json"
    if path.is_file() and digest_of(path.read_text(encoding="utf-8", errors="replace")) != described:
        refuse_text([(path, text)])
    splits = read_splits(root)
    for name, split in plan.splits.items():
        refuse_other(root, name, split, splits, "--overwrite")


def _refuse_nested(raw: Path, root: Path) -> None:
    """Nothing is written into what was downloaded."""
    inner, outer = root.resolve(), raw.resolve()
    if inner == outer or (raw.is_dir() and inner.is_relative_to(outer)):
        raise DataError(f"{root}: lies inside the raw data, which stay as they are; choose a folder elsewhere")


def _check(raw: Path, plan: Plan) -> None:
    if not plan.cases:
        raise DataError(f"{raw}: holds no case; give the folder that was downloaded")
    seen: dict[str, Source] = {}
    for case in plan.cases:
        if not case.id or "/" in case.id or "\\" in case.id or case.id.startswith(".") or not is_safe(case.id):
            raise DataError(f"{raw}: {case.id!a} cannot be the name of a case; rename its files with plain letters")
        other = seen.setdefault(case.id.casefold(), case)
        if other is not case:
            raise DataError(f"{case.files[0]}: is the case {case.id!r} like {other.files[0]}; keep one of the two")
    for what, (expected, here) in plan.expected.items():
        if expected != here:
            plan.missing.append(f"{raw}: holds {here} {what} where the published data set has {expected}")


def _placed(cases: list[Source], test: frozenset[str]) -> list[Source]:
    """The cases on which the field tests go to ``imagesTs``, unless the download has test cases of its own.

    So a split that is drawn in the folder leaves them alone.
    """
    if any(case.group == "test" for case in cases):
        return cases
    return [replace(case, group="test") if case.id in test and case.group == "train" else case for case in cases]


def _description(plan: Plan, published: str | None) -> dict[str, Any]:
    """``dataset.json``."""
    description: dict[str, Any] = {
        "name": plan.name,
        "channel_names": {str(number): name for number, name in enumerate(plan.channel_names)},
        "labels": {name: value for value, name in enumerate(plan.class_names)},
        "numTraining": sum(case.group == "train" and case.labelled for case in plan.cases),
        "file_ending": plan.file_ending,
    }
    if label_ending(plan) != plan.file_ending:
        description["label_ending"] = label_ending(plan)
    if patients := {case.id: case.patient for case in plan.cases if case.patient is not None}:
        description["patients"] = patients
    if order := plan.training_order or published_order(published, plan.cases):
        description["training_order"] = list(order)
    if plan.shortcuts:
        description["shortcuts"] = list(plan.shortcuts)
    if plan.reference:
        description["reference"] = plan.reference
    return description


def _finish(root: Path, plan: Plan, published: str | None, written: int, overwrite: bool) -> Conversion:
    dataset = Dataset.open(root)
    splits = {**published_splits(published, dataset), **plan.splits}
    for name, split in splits.items():
        split.check(dataset)
        write_split(root, name, split, replace=overwrite, option="--overwrite")
    return Conversion(dataset, written, list(splits), [*plan.notes, *published_notes(published, splits)], plan.missing)
