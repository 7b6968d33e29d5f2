"""Which files a dataset folder holds: names only, so that 100 000 scans are listed in a second."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fewmask.names import is_safe

Group = Literal["train", "unlabelled", "test"]

IMAGE_FOLDERS: dict[str, Group] = {"imagesTr": "train", "imagesUn": "unlabelled", "imagesTs": "test"}
LABEL_FOLDERS = {"imagesTr": "labelsTr", "imagesTs": "labelsTs"}
_COMPANIONS = {".mhd": (".raw", ".zraw"), ".tif": (".json",), ".tiff": (".json",)}  # belong to a scan, are not one
_CHANNEL = re.compile(r"(.+)_(\d{4})")


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
    """Something about the names in a folder that is not as it should be; `check_dataset` reports it."""

    severity: Literal["error", "warning", "note"]
    case: str | None
    path: Path
    message: str


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
            listing.problems.append(Problem("error", case_id, path, f"is a label whose scan is missing from {folder}"))
    for case in sorted(found, key=lambda case: case.id):
        if case.id in listing.cases:
            listing.duplicates[case.id] = (listing.cases[case.id].images[0], case.images[0])
        else:
            listing.cases[case.id] = case
    _warn_of_case(listing)
    return listing


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
    numbered: dict[str, dict[int, Path]] = {}
    for name in _names(folder, _COMPANIONS.get(ending, ()), listing):
        stem = _CHANNEL.fullmatch(name.removesuffix(ending)) if name.endswith(ending) else None
        if stem is None:
            listing.problems.append(
                Problem("note", None, folder / name, f"is not named ID_0000{ending} and is left out")
            )
        else:
            numbered.setdefault(stem[1], {})[int(stem[2])] = folder / name
    images = {}
    for case_id, files in numbered.items():
        images[case_id] = tuple(files[number] for number in sorted(files))
        if sorted(files) not in ([0], list(range(channels))):
            there = ", ".join(f"_{number:04d}" for number in sorted(files))
            wanted = "_0000" if channels == 1 else f"_0000 to _{channels - 1:04d}"
            message = f"has the channel files {there}, but dataset.json asks for {wanted}; rename them"
            listing.problems.append(Problem("error", case_id, images[case_id][0], message))
    return images


def _labels(folder: Path, ending: str, listing: Listing) -> dict[str, Path]:
    labels = {}
    for name in _names(folder, _COMPANIONS.get(ending, ()), listing):
        if name.endswith(ending) and name != ending:
            labels[name.removesuffix(ending)] = folder / name
        else:
            listing.problems.append(Problem("note", None, folder / name, f"is not named ID{ending} and is left out"))
    return labels


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
