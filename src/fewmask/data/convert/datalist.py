"""MONAI's data lists: a JSON file that names images and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import Field

from fewmask.config import Section
from fewmask.data.convert.base import Content, Converter, Files, Plan, Source, register
from fewmask.data.convert.find import files, inside, read_object, stem, wrong_layout
from fewmask.data.convert.labels import Names, check_classes
from fewmask.data.image import suffix_of
from fewmask.data.layout import Group
from fewmask.data.split import Split
from fewmask.errors import DataError

_TRAINING, _VALIDATION, _TEST = ("training", "train"), ("validation", "val"), ("testing", "test")


class DatalistConfig(Section):
    """Settings of ``datalist``."""

    file: str | None = Field(None, description="name of the list in RAW; none: the one JSON file there")
    base: str = Field(".", description="folder that the list's paths start from, below RAW")
    classes: Names = Field(("background", "foreground"), description="class names in the order of label values")
    channels: Names = Field((), description="names of the channels; none: image, or image 0, image 1, ...")
    fold: int | None = Field(None, ge=0, description="of entries with a fold, the one that validates")


@dataclass(frozen=True)
class _Entry:
    images: Files
    label: Path | None
    folds: tuple[Any, ...]


@register("datalist")
class Datalist(Converter):
    """Scans that a MONAI data list names, copied byte by byte.

    An entry is {"image": path or list of paths, "label": path}; one without a label is an unlabelled scan. Validation entries, and those
    of the chosen fold, validate in the split ``datalist``.
    """

    Config = DatalistConfig
    title = "a MONAI data list (JSON) with its images and labels"
    layout = """\
RAW/
  dataset.json     {"training": [{"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}, ...],
                    "validation": [...], "testing": [...]}
  images/  labels/ anything below RAW"""

    def plan(self, raw: Path) -> Plan:
        """One case an entry."""
        check_classes("datalist", self.config.classes)
        path = self._list(raw)
        values = read_object(path)
        if not any(isinstance(values.get(key), list) for key in (*_TRAINING, *_VALIDATION)):
            raise wrong_layout(
                path, 'a list under "training"', f"the keys {', '.join(map(repr, values)) or 'of nothing'}"
            )
        entries = [(part, self._entry(raw, path, entry)) for part, entry in _entries(values)]
        shared = _check_each_once(raw, path, entries)
        names = _names([entry.images for _, entry in entries])
        _check_names(path, names, [entry.images for _, entry in entries])
        cases = [_source(name, part, entry) for name, (part, entry) in zip(names, entries, strict=True)]
        validating = {
            case.id
            for case, (part, entry) in zip(cases, entries, strict=True)
            if case.labelled and (part == "validation" or (part == "training" and self.config.fold in entry.folds))
        }
        plan = self._plan(raw, path, cases, validating)
        plan.missing += shared
        return plan

    def _list(self, raw: Path) -> Path:
        if self.config.file is not None:
            return inside(raw, self.config.file, raw)
        found = files(raw, r".*\.json")
        if len(found) != 1:
            raise wrong_layout(
                raw,
                "one JSON file, or --set file=NAME",
                "" if not found else ", ".join(path.name for path in found[:4]),
            )
        return found[0]

    def _entry(self, raw: Path, where: Path, entry: Any) -> _Entry:
        entry = {"image": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or not entry.get("image"):
            raise DataError(f'{where}: an entry is {entry!r:.80}; expected {{"image": ..., "label": ...}}')
        names = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        base = raw / self.config.base
        if ".." in Path(self.config.base).parts or Path(self.config.base).is_absolute():
            raise DataError(f"{where}: base {self.config.base!r} lies outside {raw}; copy the files there")
        images = tuple(inside(base, name, where) for name in names)
        label = inside(base, entry["label"], where) if entry.get("label") else None
        return _Entry(images, label, (entry["fold"],) if "fold" in entry else ())

    def _plan(self, raw: Path, where: Path, cases: list[Source], validating: set[str]) -> Plan:
        numbers = {len(case.files) - case.labelled for case in cases}
        endings = {suffix_of(case.files[0]) for case in cases}
        if len(numbers) != 1 or len(endings) != 1:
            what = "numbers of channel files" if len(numbers) != 1 else f"formats ({', '.join(sorted(endings))})"
            raise DataError(f"{where}: its scans have different {what}; list those of one kind")
        number = numbers.pop()
        channels = self.config.channels or (("image",) if number == 1 else tuple(f"image {n}" for n in range(number)))
        training = [case.id for case in cases if case.group == "train" and case.id not in validating]
        split = training and Split(
            labelled=tuple(training),
            unlabelled=tuple(case.id for case in cases if case.group == "unlabelled"),
            validation=tuple(case.id for case in cases if case.id in validating),
            test=tuple(case.id for case in cases if case.group == "test"),
            how=f"as {where.name} says; all training labels are seen",
        )
        labels = {suffix_of(case.files[-1]) for case in cases if case.labelled}
        return Plan(
            name=raw.resolve().name,
            channel_names=tuple(channels),
            class_names=tuple(self.config.classes),
            cases=cases,
            file_ending=endings.pop(),
            label_ending=labels.pop() if len(labels) == 1 else None,
            joint=number == 1,
            splits={"datalist": split} if split else {},
        )


def _entries(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for part, keys in (("training", _TRAINING), ("validation", _VALIDATION), ("test", _TEST)):
        for key in keys:
            for entry in values.get(key) or []:
                yield part, entry


def _check_each_once(raw: Path, where: Path, entries: Sequence[tuple[str, _Entry]]) -> list[str]:
    """Refuse a file that is two scans, or scan and label; a sentence where two scans have one label, which may be meant."""
    scans: dict[Path, str] = {}
    labels: dict[Path, Path] = {}
    shared: list[tuple[Path, Path, Path]] = []
    for part, entry in entries:
        for image in dict.fromkeys(path.resolve() for path in entry.images):
            if image in scans:
                told = f"twice under {part}" if scans[image] == part else f"under {scans[image]} and under {part}"
                name = _below(raw, next(path for path in entry.images if path.resolve() == image))
                raise DataError(f"{where}: names the scan {name} {told}; keep it once")
            scans[image] = part
        if entry.label and (other := labels.setdefault(entry.label.resolve(), entry.images[0])) != entry.images[0]:
            shared.append((entry.label, other, entry.images[0]))
    for label in labels:
        if label in scans:
            raise DataError(f"{where}: names {_below(raw.resolve(), label)} as a scan and as a label; mend the list")
    return [
        f"{where}: gives the label {_below(raw, label)} to two scans, {_below(raw, one)} and {_below(raw, two)}; check that it is of both, "
        "and keep them on one side of a split"
        for label, one, two in shared
    ]


def _below(raw: Path, path: Path) -> str:
    return path.relative_to(raw).as_posix() if path.is_relative_to(raw) else str(path)


def _source(name: str, part: str, entry: _Entry) -> Source:
    group: Group = "test" if part == "test" else "train" if entry.label else "unlabelled"
    files = (*entry.images, entry.label) if entry.label else entry.images
    return Source(name, files, lambda: Content(entry.images, entry.label), group, entry.label is not None)


def _names(scans: list[Files]) -> list[str]:
    """Case names from file names; where these are not all different, from their folders'."""
    ways: tuple[Callable[[Files], str], ...] = (
        _stem,
        _common,
        lambda images: images[0].parent.name,
        lambda images: f"{images[0].parent.name}_{_stem(images)}",
        lambda images: "_".join((*images[0].parts[-3:-1], _common(images))),
    )
    named = [[way(images) for images in scans] for way in ways]
    return next((names for names in named if len(set(names)) == len(names)), named[-1])


def _check_names(where: Path, names: Sequence[str], scans: Sequence[Files]) -> None:
    seen: dict[str, Files] = {}
    for name, images in zip(names, scans, strict=True):
        if (other := seen.setdefault(name, images)) is not images:
            raise DataError(f"{where}: {images[0]} and {other[0]} would both be the case {name!r}; rename one of them")


def _stem(images: Files) -> str:
    """What the names of a case's files have in common, without a channel number."""
    return _common(images).removesuffix("_0000")


def _common(images: Files) -> str:
    """What they have in common."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*(stem(path) for path in images), strict=False))
    common = "".join(letters[0] for letters in alike)
    return common if len(images) == 1 else common.rstrip("_-.") or stem(images[0])
