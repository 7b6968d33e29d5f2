"""NIH Pancreas-CT, as The Cancer Imaging Archive gives it: DICOM scans, NIfTI labels."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from fewmask.config import Section
from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import by_id, descend, files, folders, listed, wrong_layout
from fewmask.data.convert.labels import binary
from fewmask.data.convert.series import find_series, slice_files
from fewmask.data.convert.slices import Slice
from fewmask.data.convert.stack import geometry_of, read_stack, stacked
from fewmask.data.image import Image, read_label
from fewmask.errors import DataError

DUPLICATES = ("PANCREAS_0025", "PANCREAS_0070")
_FLIPS: dict[str, tuple[int, ...]] = {"none": (), "y": (1,), "z": (2,), "yz": (1, 2)}
_TISSUE = (-100, 300)  # HU of a pancreas with contrast, and of the fat at its border
_LEAST = (
    0.6  # share of a label that lies in such tissue where it lies rightly; beside the organ it holds fat, air and bone
)


class PancreasConfig(Section):
    """Settings of ``pancreas-ct``."""

    duplicates: bool = Field(False, description="also convert PANCREAS_0025 and PANCREAS_0070, withdrawn as duplicates")
    flip: Literal["auto", "none", "y", "z", "yz"] = Field(
        "auto",
        description="turn the labels, whose headers do not say where they lie. auto: voxel by voxel as the slices are numbered, "
        "and refuse what lies in no soft tissue",
    )


@register("pancreas-ct")
class PancreasCT(Converter):
    """Abdominal CT with the pancreas outlined, whole scans in HU on the scanner's grid.

    The labels' headers do not agree with the scans': a label belongs to its scan voxel by voxel, columns by rows by slices in
    the order of their instance numbers. Each is checked against the scan, of which it must hold soft tissue.
    """

    Config = PancreasConfig
    title = "NIH Pancreas-CT: DICOM scans and NIfTI labels of The Cancer Imaging Archive"
    published = "pancreas-ct"
    layout = """\
RAW/
  Pancreas-CT/                         or manifest-.../Pancreas-CT/
    PANCREAS_0001/<study>/<series>/*.dcm
    PANCREAS_0002/ ...
  TCIA_pancreas_labels-02-05-2017/     or the label files in RAW itself
    label0001.nii.gz
    label0002.nii.gz ..."""

    def plan(self, raw: Path) -> Plan:
        """One case a patient; slices are looked at when its turn comes."""
        home = descend(raw, lambda folder: bool(folders(folder, r"PANCREAS_\d{4}")), depth=3)
        shelf = descend(raw, lambda folder: bool(files(folder, r"label\d{4}\.nii(\.gz)?")), depth=3)
        if home is None or shelf is None:
            lacking = "PANCREAS_0001/<study>/<series>/*.dcm" if home is None else "labels such as label0001.nii.gz"
            raise wrong_layout(raw, lacking)
        labels = by_id(files(shelf, r"label\d{4}\.nii(\.gz)?"), lambda path: f"PANCREAS_{path.name[5:9]}")
        scans = {path.name.upper(): path for path in folders(home, r"PANCREAS_\d{4}")}
        left = [case for case in DUPLICATES if case in scans and not self.config.duplicates]
        missing = [f"{scans[case]}: has no label and is left out" for case in scans if case not in labels]
        missing += [f"{labels[case]}: has no scan" for case in labels if case not in {*scans, *DUPLICATES}]
        cases = [
            self._case(case, path, labels[case]) for case, path in scans.items() if case in labels and case not in left
        ]
        expected = 82 if self.config.duplicates else 80
        return Plan(
            name="Pancreas-CT",
            channel_names=("CT",),
            class_names=("background", "pancreas"),
            cases=cases,
            expected={"labelled scans": (expected, len(cases))},
            reference="Roth et al., Data from Pancreas-CT, The Cancer Imaging Archive 2016; DeepOrgan, MICCAI 2015",
            notes=[f"{' and '.join(left)} left out: withdrawn as duplicates (--set duplicates=true keeps them)"]
            if left
            else [],
            missing=missing,
        )

    def _case(self, case: str, folder: Path, label: Path) -> Source:
        slices = slice_files(folder)
        if not slices:
            raise wrong_layout(folder, "DICOM slices in <study>/<series>/")
        return Source(case, (*slices, label), lambda: self._read(folder, label))

    def _read(self, folder: Path, path: Path) -> Content:
        found = find_series(slice_files(folder))
        if found.odd:
            raise found.odd[0]
        if len(found.scans) != 1:
            there = f"{len(found.scans)} series" if found.scans else ", ".join(inner.name for inner in listed(folder))
            raise wrong_layout(folder, "one DICOM series of a scan", there)
        ordered = stacked(found.scans[0])
        values, geometry = read_stack(ordered)
        label = self._turned(path, read_label(path), ordered, values)
        return Content(values[None], binary(path, label, (1,)), geometry)

    def _turned(self, path: Path, label: Image, ordered: list[Slice], values: np.ndarray) -> np.ndarray:
        grid = geometry_of(ordered)
        if label.data.shape != grid.shape:
            raise DataError(
                f"{path}: has the shape {label.data.shape}, but its scan {grid.shape}; download the scan and its label again"
            )
        if self.config.flip != "auto":
            return np.flip(label.data, _FLIPS[self.config.flip])
        if label.geometry.matches(grid):
            return label.data
        downwards = ordered[0].number > ordered[-1].number
        turned = np.flip(label.data, _FLIPS["z" if downwards else "none"])
        if (share := tissue_share(values, turned)) < _LEAST:
            raise DataError(
                f"{path}: only {share:.0%} of it lies in soft tissue, so it may be turned against its scan; look at both, and "
                "say how by --set flip=none, y, z or yz"
            )
        return turned


def tissue_share(values: np.ndarray, label: np.ndarray) -> float:
    """The share of a label's voxels that are soft tissue in a CT scan; 1 where it is empty."""
    inside = values[label > 0]
    return float(np.mean((inside >= _TISSUE[0]) & (inside <= _TISSUE[1]))) if inside.size else 1.0
