"""What a conversion of DICOM series tells its user: what was left out, what was taken how."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fewmask.data.convert.base import Source
from fewmask.data.convert.series import Found
from fewmask.data.convert.slices import OddImageError, Slice
from fewmask.data.convert.stack import misnumbered
from fewmask.errors import DataError
from fewmask.words import count


def left_out(raw: Path, found: Found, faults: list[DataError]) -> list[str]:
    """Images that are part of no scan, and objects that are no images."""
    notes = []
    odd: list[OddImageError] = [each for each in found.odd if each not in faults]
    if odd:
        notes.append(f"{count(len(odd), 'image')} left out; {_inside(raw, odd[0].path)}: {odd[0].problem}")
    if found.others:
        first = found.others[0].path
        notes.append(f"no images and left out: {kinds_of(found)}, {_inside(raw, first)} for one")
    return notes


def _inside(raw: Path, path: Path) -> str:
    return path.relative_to(raw).as_posix()


def kinds_of(found: Found) -> str:
    """The objects that are no images, counted by their class's name."""
    kinds = Counter(each.what for each in found.others)
    return ", ".join(f"{number} {what}" for what, number in sorted(kinds.items()))


def taken_so(found: Found, ordered: list[list[Slice]]) -> list[str]:
    """How series became scans where their headers left a choice, and whose values are how."""
    notes = []
    first = {id(each) for series in ordered for each in series}
    gathered = sum(id(series[0]) in first for series in found.gathered)
    if gathered:
        notes.append(
            f"{count(gathered, 'scan')} taken as one although each slice has a series identifier of its own: patient, study, "
            "directions, sizes and even distances agree"
        )
    if alike := found.divided.get("patients"):
        notes.append(f"{alike} scans share a series identifier with another patient's or folder's; taken apart")
    for what, why in (("directions", "directions differ"), ("times", "echoes, time points or the like differ")):
        if more := found.divided.get(what):
            notes.append(f"{count(more, 'more scan')} than series, because {why} within one; taken apart")
    notes += _shades(ordered)
    if wrong := sum(misnumbered(series) for series in ordered):
        notes.append(
            f"{wrong} of {len(ordered)} series are named or numbered in another order than they lie; sorted by position"
        )
    return notes


def _shades(ordered: list[list[Slice]]) -> list[str]:
    white = [any(each.projection for each in series) for series in ordered if any(each.white for each in series)]
    notes = []
    if measured := white.count(False):
        notes.append(
            f"{count(measured, 'scan')} stored to be shown with 0 as white (MONOCHROME1); values are the measured ones, not inverted"
        )
    if shown := white.count(True):
        notes.append(
            f"{count(shown, 'scan')} of X-ray pictures in which 0 is white (MONOCHROME1); values are turned to what is shown, so that "
            "bright is high as in the others"
        )
    return notes


def patients_joined(raw: Path, cases: list[Source]) -> list[str]:
    """Which cases are one patient's by their headers though they came in folders of their own."""
    folders: dict[str, set[str]] = {}
    for case in cases:
        if case.patient is not None:
            folders.setdefault(case.patient, set()).add(case.files[0].relative_to(raw).parts[0])
    spread = {patient for patient, inside in folders.items() if len(inside) > 1}
    scans = sum(case.patient in spread for case in cases)
    if not spread:
        return []
    return [
        f"{scans} scans in several folders are of {count(len(spread), 'patient')}; dataset.json keeps them together"
    ]


def halved(found: Found) -> list[str]:
    """A warning for each pair of folders that may hold one scan."""
    return [
        f"{one} and {other}: hold slices of one series, but no patient's name or number; taken as scans of their own, so put them "
        "into one folder if they are one scan"
        for one, other in found.halves
    ]
