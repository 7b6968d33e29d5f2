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
from fewmask.data.convert.identity import shared_patients
from fewmask.data.convert.labels import Names, check_classes
from fewmask.data.convert.sayings import halved, kinds_of, left_out, patients_joined, taken_so
from fewmask.data.convert.series import Found, find_series, slice_files
from fewmask.data.convert.slices import Slice
from fewmask.data.convert.stack import read_stack, stacked
from fewmask.data.image import read_label
from fewmask.data.layout import Group
from fewmask.errors import DataError


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

    A scan is of one patient, study, series and direction; where headers tell no patient or no series, of one folder. Slices are
    stacked by their position in the patient, whatever their names and numbers say. A series in which slices are missing,
    doubled or uneven is found before anything is written. Values are the scanner's (stored ones times slope plus intercept,
    HU in CT), whether 0 is shown black or white; only X-ray pictures of which 0 is white are turned, to what is shown. No name
    or date of a patient is taken over, but a case is named by its folder: rename folders that tell who it is.
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
        found = find_series(slice_files(raw))
        whole = [series for series in found.scans if len(series) >= self.config.min_slices]
        if not whole:
            raise wrong_layout(raw, f"DICOM series of {self.config.min_slices} slices or more", _instead(found))
        ordered, faults = _sound(whole, found)
        if faults and (self.config.faulty == "stop" or not ordered):
            more = f" (one of {len(faults)} faulty series)" if faults[1:] else ""
            raise DataError(f"{faults[0]}{more}; or leave out what is faulty by --set faulty=skip")
        cases = self._cases(raw, ordered)
        short = len(found.scans) - len(whole)
        return Plan(
            name=raw.resolve().name,
            channel_names=(self.config.modality,),
            class_names=tuple(self.config.classes),
            cases=cases,
            notes=[
                *([f"{short} series of less than {self.config.min_slices} slices left out"] if short else []),
                *left_out(raw, found, faults),
                *taken_so(found, ordered),
                *patients_joined(raw, cases),
            ],
            missing=[*(f"{fault}; left out" for fault in faults), *halved(found)],
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
        here = raw.resolve().name
        owners = shared_patients(
            names, [top if top != here else None for top in tops], [series[0].patient for series in ordered]
        )
        for name, patient, series in zip(names, owners, ordered, strict=True):
            label = labels.pop(name, None)
            paths = (*(each.path for each in series), *([label] if label else []))
            group: Group = "train" if label else "unlabelled"
            cases.append(Source(name, paths, _loader(series, label), group, label is not None, patient))
        if labels:
            raise DataError(
                f"{next(iter(labels.values()))}: is a label without a scan; the scans are named {', '.join(names[:3])}, so rename it"
            )
        return cases


def _instead(found: Found) -> str:
    """What is there where no series is long enough."""
    most = max(map(len, found.scans), default=0)
    seen = [f"series of up to {most}"] if most else []
    seen += [f"an image that {found.odd[0].problem}"] if found.odd else []
    seen += [f"{kinds_of(found)}"] if found.others else []
    return " and ".join(seen)


def _sound(whole: list[list[Slice]], found: Found) -> tuple[list[list[Slice]], list[DataError]]:
    """The series that make a scan, each in its order; and what is wrong with the others."""
    ordered: list[list[Slice]] = []
    faults: list[DataError] = []
    for series in whole:
        try:
            if fault := found.fault_of(series):
                raise fault
            ordered.append(stacked(series))
        except DataError as error:
            faults.append(error)
    return ordered, faults


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
