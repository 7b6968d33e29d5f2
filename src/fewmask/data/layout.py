"""Which files a dataset folder holds: names only, so that 100 000 scans are listed in a second."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fewmask.data.image import SUFFIXES, suffix_of
from fewmask.names import is_safe

Group = Literal["train", "unlabelled", "test"]

IMAGE_FOLDERS: dict[str, Group] = {"imagesTr": "train", "imagesUn": "unlabelled", "imagesTs": "test"}
LABEL_FOLDERS = {"imagesTr": "labelsTr", "imagesTs": "labelsTs"}
_COMPANIONS = {".mhd": (".raw", ".zraw"), ".tif": (".json",), ".tiff": (".json",)}  # belong to a scan, are not one
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_TAIL = re.compile(r"[._-][A-Za-z][\w.-]*")  # of a label, behind the name of its scan


@dataclass(frozen=True)
class Case:
    """One scan: a file per channel (or one file with all), and its label where there is one.

    Attributes:
        id: the files' name without channel number and ending.
        images: in channel order.
        label: None for a case without one.
        group: ``"train"`` has a label that a split may use, ``"unlabelled"`` has none, ``"test"`` is for scoring.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None
    group: Group


@dataclass(frozen=True)
class Problem:
    """Something about the names in a folder that is not as it should be; `check_dataset` reports it.

    Attributes:
        severity: as of a finding.
        case: the case it is about, or None.
        path: the file it is about.
        message: what is wrong and what to do.
        lost: whether a scan or a label is left out by it that the user will miss.
    """

    severity: Literal["error", "warning", "note"]
    case: str | None
    path: Path
    message: str
    lost: bool = False


@dataclass
class Listing:
    """The cases of a folder and what is odd about its names."""

    cases: dict[str, Case] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    duplicates: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    unsafe: list[Path] = field(default_factory=list)


def is_dataset(path: Path) -> bool:
    """Whether a folder is laid out as a dataset folder: ``dataset.json`` and a folder of scans."""
    return (path / "dataset.json").is_file() and any((path / name).is_dir() for name in IMAGE_FOLDERS)


def list_cases(root: Path, file_ending: str, label_ending: str, channels: int) -> Listing:
    """List the scans of ``imagesTr``, ``imagesUn`` and ``imagesTs``, ordered by id. No image is opened."""
    listing, found = Listing(), []
    for folder, group in IMAGE_FOLDERS.items():
        images = _images(root / folder, file_ending, channels, listing)
        labels = _labels(root / LABEL_FOLDERS[folder], label_ending, listing) if folder in LABEL_FOLDERS else {}
        for case_id, paths in images.items():
            label = labels.pop(case_id, None)
            kind: Group = "unlabelled" if group == "train" and label is None else group
            found.append(Case(case_id, paths, label, kind))
        for case_id, path in labels.items():
            message = f"is a label whose scan is missing from {folder}{_scan_for(case_id, label_ending, images)}"
            listing.problems.append(Problem("error", case_id, path, message, lost=True))
    for case in sorted(found, key=lambda case: case.id):
        if case.id in listing.cases:
            listing.duplicates[case.id] = (listing.cases[case.id].images[0], case.images[0])
        else:
            listing.cases[case.id] = case
    _warn_of_case(listing)
    return listing


def _scan_for(case_id: str, ending: str, images: Container[str]) -> str:
    """What to do about a label without a scan: where it is called ``a.seg.nrrd``, ``a_seg.nii.gz`` or ``a_0000.nii.gz``, the scan ``a`` may be there."""
    if (found := _CHANNEL.fullmatch(case_id)) and found[1] in images:
        return f", but {found[1]} is there; a label has no channel number, so name it {found[1]}{ending}"
    for length in range(len(case_id) - 1, 0, -1):
        if case_id[:length] in images and _TAIL.fullmatch(case_id[length:]):
            tail = case_id[length:] + ending
            return f', but {case_id[:length]} is there; name it {case_id[:length]}{ending}, or write "label_ending": "{tail}" into dataset.json'
    return "; add the scan, or remove the label"


def _warn_of_case(listing: Listing) -> None:
    seen: dict[str, Case] = {}
    for case in listing.cases.values():
        other = seen.setdefault(case.id.casefold(), case)
        if other is not case:
            message = (
                f"differs from {other.id!r} in upper and lower case only, which Windows and macOS take for one name"
            )
            listing.problems.append(Problem("warning", case.id, case.images[0], f"{message}; rename one of them"))


def _images(folder: Path, ending: str, channels: int, listing: Listing) -> dict[str, tuple[Path, ...]]:
    """The scans of a folder; in one where no file ends in a channel number that ``dataset.json`` has, each file is a scan of its name."""
    stems, others = _stems(folder, ending, listing)
    numbered: dict[str, dict[int, Path]] = {}
    images: dict[str, tuple[Path, ...]]
    for stem, path in stems.items():
        if found := _CHANNEL.fullmatch(stem):
            numbered.setdefault(found[1], {})[int(found[2])] = path
    if stems and not any(number < channels for files in numbered.values() for number in files):
        message = (
            f"has no channel number, and is taken for all channels of a scan of its name; nnU-Net wants ID_0000{ending}"
        )
        listing.problems += [Problem("note", stem, path, message) for stem, path in stems.items()]
        images = {stem: (path,) for stem, path in stems.items()}
    else:
        images = {case_id: tuple(files[number] for number in sorted(files)) for case_id, files in numbered.items()}
        others += [path for stem, path in stems.items() if not _CHANNEL.fullmatch(stem)]
        for case_id, files in numbered.items():
            if sorted(files) not in ([0], list(range(channels))):
                message = _wrong_numbers(sorted(files), channels, images[case_id][-1].name, ending)
                listing.problems.append(Problem("error", case_id, images[case_id][0], message))
    for path in others:
        listing.problems.append(_left_out(path, images, f"ID_0000{ending}"))
    return images


def _wrong_numbers(numbers: Sequence[int], channels: int, last: str, ending: str) -> str:
    there = ", ".join(f"_{number:04d}" for number in numbers)
    wanted = "_0000" if channels == 1 else f"_0000 to _{channels - 1:04d}"
    own = last.removesuffix(ending)
    return (
        f"has the channel files {there}, but dataset.json asks for {wanted}; rename them, a scan that is called {own} itself "
        f"to {own}_0000{ending}"
    )


def _labels(folder: Path, ending: str, listing: Listing) -> dict[str, Path]:
    labels, others = _stems(folder, ending, listing)
    listing.problems += [_left_out(path, labels, f"ID{ending}") for path in others]
    return labels


def _stems(folder: Path, ending: str, listing: Listing) -> tuple[dict[str, Path], list[Path]]:
    """The files of an ending by their names without it, and the others."""
    stems, others = {}, []
    for name in _names(folder, _COMPANIONS.get(suffix_of(f"x{ending}"), ()), listing):
        if name.endswith(ending) and name != ending:
            stems[name.removesuffix(ending)] = folder / name
        else:
            others.append(folder / name)
    return stems, others


def _left_out(path: Path, cases: Container[str], named: str) -> Problem:
    """Why a file is left out: it could pass for a second scan, or label, of a case, or it is something else."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")
    stem = path.name[: -len(suffix)] if suffix else ""
    found = _CHANNEL.fullmatch(stem)
    case_id = next((name for name in (stem, found and found[1]) if name and name in cases), None)
    if case_id is None:
        return Problem("note", None, path, f"is not named {named} and is left out")
    message = f"is of case {case_id!r}, which has a file {named.replace('ID', case_id)} already, and is left out; keep one of them"
    return Problem("warning", case_id, path, message, lost=True)


def _names(folder: Path, companions: tuple[str, ...], listing: Listing) -> list[str]:
    """Names in a folder but hidden ones, ``companions`` and unsafe ones, unordered; none where there is no folder."""
    if not folder.is_dir():
        if os.path.lexists(folder):
            listing.problems.append(Problem("error", None, folder, "is no folder; put one of that name in its place"))
        return []
    with os.scandir(folder) as entries:
        names = [
            entry.name for entry in entries if not entry.name.startswith(".") and not entry.name.endswith(companions)
        ]
    listing.unsafe += [folder / name for name in names if not is_safe(name)]
    return [name for name in names if is_safe(name)]
