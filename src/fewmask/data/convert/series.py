"""DICOM series: which slices make one scan. Two patients never do, and neither do two directions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fewmask.data.convert.base import Files
from fewmask.data.convert.find import files, folders
from fewmask.data.convert.slices import OddImageError, Other, Slice, read_slice
from fewmask.data.convert.stack import stacked
from fewmask.data.convert.times import untangled
from fewmask.errors import DataError

_APART = 0.035  # difference of two directions, 2 degrees, from which on they are two stacks and no inaccuracy
_ENOUGH = 5  # slices with numbers of their own that are one scan even if one of them is missing


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        scans: the slices of each, in no particular order.
        odd: images that can be part of none.
        others: objects that are no images.
        gathered: scans each slice of which had a series identifier of its own.
        divided: scans that share their series identifier with another; ``"patients"``, ``"directions"`` and so on to how many.
        halves: folders whose slices would make one stack, had they a patient's name or number.
    """

    scans: list[list[Slice]] = field(default_factory=list)
    odd: list[OddImageError] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    gathered: list[list[Slice]] = field(default_factory=list)
    divided: dict[str, int] = field(default_factory=dict)
    halves: list[tuple[Path, Path]] = field(default_factory=list)

    def fault_of(self, slices: list[Slice]) -> OddImageError | None:
        """The first odd image that belongs to a scan, or may."""
        return next((each for each in self.odd if each.may_belong_to(slices)), None)


def find_series(paths: Iterable[Path]) -> Found:
    """Sort the slices among some files into scans.

    A scan is of one patient, study, series, class of images and direction. Where a patient has neither name nor number, or a
    series no identifier, slices belong together by their folder. Images at the same places that differ in echo, time or the
    like are scans of their own. Slices that all have a series identifier of their own are one scan where all else says so.
    """
    found = Found()
    slices = []
    for path in paths:
        try:
            header = read_slice(path)
        except OddImageError as error:
            found.odd.append(error)
            continue
        if isinstance(header, Other):
            found.others.append(header)
        elif header is not None:
            slices.append(header)
    _sort(slices, found)
    return found


def _sort(slices: list[Slice], found: Found) -> None:
    series = _parted(slices, _series)
    _count(found, "patients", series)
    found.halves = _halves(series)
    straight = [part for group in series for part in _directions(group)]
    found.divided["directions"] = len(straight) - len(series)
    whole, found.gathered = _gathered(straight)
    found.scans = [part for group in whole for part in untangled(group)]
    found.divided["times"] = len(found.scans) - len(whole)


def _count(found: Found, what: str, series: list[list[Slice]]) -> None:
    owners = defaultdict(set)
    for group in series:
        if group[0].series:
            owners[group[0].study, group[0].series].add(_whose(group[0]))
    found.divided[what] = sum(len(each) for each in owners.values() if len(each) > 1)


def _parted(slices: Iterable[Slice], key: Callable[[Slice], Hashable]) -> list[list[Slice]]:
    parts: dict[Hashable, list[Slice]] = {}
    for each in slices:
        parts.setdefault(key(each), []).append(each)
    return list(parts.values())


def _whose(each: Slice) -> Hashable:
    return each.patient if each.patient.is_known else each.path.parent


def _series(each: Slice) -> Hashable:
    if each.series:
        return _whose(each), each.study, each.series, each.kind
    return _whose(each), each.path.parent, each.study, each.frame, each.names, each.kind


def _directions(slices: list[Slice]) -> list[list[Slice]]:
    """The slices by direction; all together where two directions are so near that one may be a fault of the other."""
    parts: list[list[Slice]] = []
    for each in slices:
        home = next((part for part in parts if np.abs(each.axes - part[0].axes).max() < 1e-3), None)
        if home is None:
            parts.append(home := [])
        home.append(each)
    axes = np.array([part[0].axes for part in parts])
    for place in range(1, len(parts)):
        if np.linalg.norm(axes[:place] - axes[place], axis=-1).max(axis=1).min() < _APART:
            return [slices]
    return parts


def _gathered(series: list[list[Slice]]) -> tuple[list[list[Slice]], list[list[Slice]]]:
    """The series, those put together whose slices each had an identifier of their own; and which these are."""
    single = [group[0] for group in series if len(group) == 1 and group[0].series]
    made = [
        part
        for group in _parted(single, _likeness)
        for straight in _directions(group)
        for part in _one_or_by_folder(straight)
    ]
    taken = {id(each) for part in made for each in part}
    left = [group for group in series if id(group[0]) not in taken]
    order = {id(group[0]): place for place, group in enumerate(series)}
    return sorted([*left, *made], key=lambda group: order[id(group[0])]), made


def _likeness(each: Slice) -> Hashable:
    spacing = tuple(round(value, 3) for value in each.spacing)
    return _whose(each), each.study, each.frame, each.kind, each.names, each.size, spacing, round(each.thickness, 3)


def _one_or_by_folder(slices: list[Slice]) -> list[list[Slice]]:
    if len(slices) < 3:
        return []
    if is_even(slices):
        return [slices]
    parts = _parted(slices, lambda each: each.path.parent)
    even = [part for part in parts if len(part) > 2 and is_even(part)]
    if even or len(slices) < _ENOUGH or len({each.number for each in slices}) < len(slices):
        return even
    return [slices]  # one of its slices is missing or odd, which will be said


def is_even(slices: list[Slice]) -> bool:
    """Whether slices make one even stack."""
    try:
        stacked(slices)
    except DataError:
        return False
    return True


def _halves(series: list[list[Slice]]) -> list[tuple[Path, Path]]:
    """Folders that may hold one scan, which only a name or a number of the patient could tell."""
    nobody = [group for group in series if group[0].series and not group[0].patient.is_known]
    parts = _parted((group[0] for group in nobody), lambda each: (each.study, each.series, each.kind))
    slices = {id(group[0]): group for group in nobody}
    found = []
    for firsts in parts:
        if len(firsts) > 1 and is_even([each for first in firsts for each in slices[id(first)]]):
            found.append((firsts[0].path.parent, firsts[1].path.parent))
    return found


def slice_files(folder: Path) -> Files:
    """All files below a folder, by name."""
    return (*files(folder), *(path for inner in folders(folder) for path in slice_files(inner)))
