"""ACDC, the Automated Cardiac Diagnosis Challenge, as its owners give it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from pydantic import Field

from fewmask.config import Section
from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import descend, folders, wrong_layout
from fewmask.data.geometry import Geometry
from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.data.layout import Group
from fewmask.errors import DataError

_PATIENT = r"patient\d{3}"


class AcdcConfig(Section):
    """Settings of ``acdc``."""

    slices: bool = Field(False, description="every slice as a 2D case of its own, as the papers train")


@register("acdc")
class Acdc(Converter):
    """Short-axis cine MRI; of each patient the end-diastolic and the end-systolic frame, copied byte by byte, or slice by slice."""

    Config = AcdcConfig
    title = "ACDC, cardiac cine MRI: right ventricle, myocardium, left ventricle in two frames a patient"
    published = "acdc"
    layout = """\
training/                            or database/training/
  patient001/
    Info.cfg                         ED: 1, ES: 12: the frames with labels
    patient001_frame01.nii.gz        patient001_frame01_gt.nii.gz
    patient001_frame12.nii.gz        patient001_frame12_gt.nii.gz
    patient001_4d.nii.gz             not used
  patient002/ ...
testing/                             too, where it is there"""

    def plan(self, raw: Path) -> Plan:
        """Two cases a patient."""
        home = descend(raw, lambda folder: folder.name != "testing" and bool(folders(folder, _PATIENT)))
        if home is None:
            raise wrong_layout(raw, "folders named patient001, ... with Info.cfg and patient001_frame01.nii.gz")
        patients = folders(home, _PATIENT)
        cases = [case for folder in patients for case in _cases(folder, "train")]
        if home.name == "training":
            cases += [case for folder in folders(home.parent / "testing", _PATIENT) for case in _cases(folder, "test")]
        if self.config.slices:
            read = lru_cache(maxsize=1)(_read)  # the slices of a frame come one after another
            cases = [part for case in cases for part in _sliced(case, read)]
        return Plan(
            name="ACDC",
            channel_names=("cine MRI",),
            class_names=("background", "right ventricle", "myocardium", "left ventricle"),
            cases=cases,
            expected={"training patients": (100, len(patients))},
            reference="Bernard et al., Deep learning techniques for automatic MRI cardiac multi-structures segmentation, TMI 2018",
        )


def _cases(folder: Path, group: Group) -> list[Source]:
    found = []
    for frame in _frames(folder):
        image, label = (folder / f"{folder.name}_frame{frame:02d}{part}.nii.gz" for part in ("", "_gt"))
        if not image.is_file() or not (label.is_file() or group == "test"):
            missing = label if image.is_file() else image
            raise DataError(
                f"{folder}: expected {missing.name}, as Info.cfg says, but it is missing; complete the download"
            )
        truth = label if label.is_file() else None
        files = (image, truth) if truth else (image,)
        found.append(_source(image, truth, files, group, folder.name))
    return found


def _source(image: Path, label: Path | None, files: tuple[Path, ...], group: Group, patient: str) -> Source:
    return Source(
        image.name.removesuffix(".nii.gz"), files, lambda: Content((image,), label), group, label is not None, patient
    )


def _sliced(case: Source, read: Callable[..., tuple[np.ndarray, np.ndarray | None, Geometry]]) -> Iterator[Source]:
    """The slices of a frame as cases, numbered from 1."""
    for place in range(read_geometry(case.files[0]).shape[2]):
        load = partial(_slice, partial(read, *case.files), place)
        yield replace(case, id=f"{case.id}_slice{place + 1:02d}", load=load)


def _slice(read: Callable[[], tuple[np.ndarray, np.ndarray | None, Geometry]], place: int) -> Content:
    image, label, geometry = read()
    plane = Geometry.spaced(geometry.shape[:2], geometry.spacing[:2])
    return Content(image[..., place], None if label is None else label[..., place], plane)


def _read(image: Path, label: Path | None = None) -> tuple[np.ndarray, np.ndarray | None, Geometry]:
    """A frame ``(1, x, y, z)`` and its label ``(x, y, z)``, where it has one.

    Raises:
        DataError: one cannot be read, or they lie on different grids.
    """
    scan = read_image(image)
    if label is None:
        return scan.data, None, scan.geometry
    truth = read_label(label)
    if not truth.geometry.matches(scan.geometry):
        raise DataError(
            f"{label}: lies on another grid than {image.name} ({truth.geometry.difference(scan.geometry)}); download it again"
        )
    return scan.data, truth.data, scan.geometry


def _frames(folder: Path) -> list[int]:
    """The numbers of the end-diastolic and the end-systolic frame, ascending."""
    path = folder / "Info.cfg"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise DataError(f"{folder}: expected Info.cfg, but it is missing; complete the download") from None
    found = dict(re.findall(r"^\s*(ED|ES)\s*:\s*(\d+)\s*$", text, re.MULTILINE))
    if len(found) != 2:
        raise DataError(f"{path}: expected lines such as 'ED: 1' and 'ES: 12'; download it again")
    return sorted({int(found["ED"]), int(found["ES"])})
