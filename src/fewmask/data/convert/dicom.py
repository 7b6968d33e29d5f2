"""DICOM series to NIfTI, one folder or many."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from fewmask.config import Section
from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import by_id, files, stem, wrong_layout
from fewmask.data.convert.grids import onto_grid
from fewmask.data.convert.labels import Names, check_classes
from fewmask.data.convert.series import fault_of, find_series, misnumbered, read_stack, slice_files, stacked
from fewmask.data.convert.slices import OddImageError, Slice
from fewmask.data.image import read_label
from fewmask.data.layout import Group
from fewmask.errors import DataError
from fewmask.words import count


class DicomConfig(Section):
    """Settings of ``dicom``."""

    labels: str | None = Field(
        None, description="folder of label maps (NIfTI, NRRD, MHA) named by case; none: all scans are unlabelled"
    )
    classes: Names = Field(("background", "foreground"), description="class names in the order of label values")
    modality: str = Field("CT", description="the channel's name")
    min_slices: int = Field(5, ge=1, description="series of fewer slices, such as localisers, are left out")
    faulty: Literal["stop", "skip"] = Field(
        "stop", description="series with missing, doubled or uneven slices. stop: convert nothing; skip: leave them out"
    )


@register("dicom")
class Dicom(Converter):
    """Every DICOM series below a folder as a NIfTI scan.

    Slices are stacked by their position in the patient, whatever their names and numbers say. A series in which slices are
    missing, doubled or uneven is found before anything is written. Values are the scanner's (HU in CT); no name or date of
    a patient is taken over, but a case is named by its folder: rename folders that tell who it is.
    """

    Config = DicomConfig
    title = "DICOM series, one folder or many; with label maps where there are some"
    layout = """\
anything/                  a case is a series; it is named by the first folder below RAW,
  patient_1/                 and by its number and description where there are several
    .../*.dcm              files of any name, with or without ending
  patient_2/ ..."""

    def plan(self, raw: Path) -> Plan:
        """One case a series; reads every header once."""
        check_classes("dicom", self.config.classes)
        found, odd = find_series(slice_files(raw))
        whole = [series for series in found if len(series) >= self.config.min_slices]
        if not whole:
            wanted = f"DICOM series of {self.config.min_slices} slices or more"
            seen = [f"series of up to {max(map(len, found))}"] if found else []
            raise wrong_layout(
                raw, wanted, " and ".join([*seen, *([f"an image that {odd[0].problem}"] if odd else [])])
            )
        ordered, faults = _sound(whole, odd)
        notes = _notes(
            len(found) - len(whole), self.config.min_slices, ordered, [each for each in odd if each not in faults]
        )
        if faults and (self.config.faulty == "stop" or not ordered):
            more = f" (one of {len(faults)} faulty series)" if faults[1:] else ""
            raise DataError(f"{faults[0]}{more}; or leave out what is faulty by --set faulty=skip")
        cases = self._cases(raw, ordered)
        return Plan(
            name=raw.resolve().name,
            channel_names=(self.config.modality,),
            class_names=tuple(self.config.classes),
            cases=cases,
            notes=notes,
            missing=[f"{fault}; left out" for fault in faults],
        )

    def _cases(self, raw: Path, ordered: list[list[Slice]]) -> list[Source]:
        labels = {}
        if self.config.labels is not None:
            folder = Path(self.config.labels)
            labels = by_id(files(folder, r".*\.(nii|nii\.gz|nrrd|mha|mhd)"), stem)
            if not labels:
                raise wrong_layout(folder, "label maps such as patient_1.nii.gz (setting labels)")
        cases, names = [], case_names(raw, ordered)
        tops = [_top(raw, series[0]) for series in ordered]
        for name, top, series in zip(names, tops, ordered, strict=True):
            label = labels.pop(name, None)
            paths = (*(each.path for each in series), *([label] if label else []))
            patient = top if tops.count(top) > 1 and top != raw.resolve().name else None
            group: Group = "train" if label else "unlabelled"
            cases.append(Source(name, paths, _loader(series, label), group, label is not None, patient))
        if labels:
            raise DataError(
                f"{next(iter(labels.values()))}: is a label without a scan; the scans are named {', '.join(names[:3])}, so rename it"
            )
        return cases


def _sound(found: list[list[Slice]], odd: list[OddImageError]) -> tuple[list[list[Slice]], list[DataError]]:
    """The series that make a scan, each in its order; and what is wrong with the others."""
    ordered: list[list[Slice]] = []
    faults: list[DataError] = []
    for series in found:
        try:
            if fault := fault_of(series, odd):
                raise fault
            ordered.append(stacked(series))
        except DataError as error:
            faults.append(error)
    return ordered, faults


def _notes(short: int, least: int, ordered: list[list[Slice]], odd: list[OddImageError]) -> list[str]:
    notes = [f"{short} series of less than {least} slices left out"] if short else []
    if odd:
        notes.append(f"{count(len(odd), 'image')} left out; {odd[0]}")
    if wrong := sum(misnumbered(series) for series in ordered):
        notes.append(
            f"{wrong} of {len(ordered)} series are named or numbered in another order than they lie; sorted by position"
        )
    return notes


def _loader(series: list[Slice], label: Path | None) -> Callable[[], Content]:
    def load() -> Content:
        values, geometry = read_stack(series)
        if label is None:
            return Content(values[None], None, geometry)
        read = read_label(label)
        return Content(values[None], onto_grid(label, read.data, read.geometry, geometry), geometry)

    return load


def case_names(raw: Path, ordered: Sequence[Sequence[Slice]]) -> list[str]:
    """A name for each series: the first folder below ``raw``; where that is not enough, with number, description, and a count."""
    tops, longer = [], []
    for series in ordered:
        top = _top(raw, series[0])
        tops.append(_plain(top))
        longer.append(_plain("_".join(part for part in (top, *series[0].names) if part)))
    names = [long if tops.count(top) > 1 else top for top, long in zip(tops, longer, strict=True)]
    return [
        f"{name}_{names[:place].count(name) + 1}" if names.count(name) > 1 else name for place, name in enumerate(names)
    ]


def _top(raw: Path, first: Slice) -> str:
    """The first folder below ``raw`` on the way to a slice, or ``raw`` itself."""
    return (*first.path.parent.relative_to(raw).parts, raw.resolve().name)[0]


def _plain(name: str) -> str:
    return re.sub(r"[^\w.+=-]+", "-", name).strip("-.")[:80] or "scan"
