"""DICOM headers, one slice each: what can be part of a scan, what is odd, and what is no image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fewmask.data.convert.header import Header, read_header
from fewmask.data.convert.identity import Identity
from fewmask.data.convert.sop import class_name, has_frames, is_image, is_projection
from fewmask.errors import DataError

_WEIGHT = 0x00189087  # the b-value of diffusion
# What else tells several images at one place apart.
_TRAITS = {
    "echo": 0x00180086,
    "time": 0x00200100,
    "acquisition": 0x00200012,
    "kind": 0x00080008,
    "trigger": 0x00181060,
}
_AS_SLICES = "of which no scan is put together; export it as slices, or convert it to NIfTI"


@dataclass(frozen=True, eq=False)
class Slice:
    """The header of a slice.

    Attributes:
        path: its file.
        patient: whom it shows.
        study: its study's identifier.
        series: its series' identifier.
        frame: the identifier of the space that its position is given in.
        kind: its SOP class.
        number: its place in the series as the scanner counted.
        position: of the first voxel, LPS millimetres.
        axes: (2, 3) directions along a row and along a column.
        spacing: between columns and between rows, millimetres.
        size: columns and rows.
        thickness: millimetres; of a single slice the only hint at its third spacing.
        names: series number and series description, for naming cases.
        traits: what may tell it from others at the same place, such as its echo's number; only what the header says.
        white: whether 0 is shown white (MONOCHROME1).
        projection: whether it is an X-ray picture.
    """

    path: Path
    patient: Identity
    study: str
    series: str
    frame: str
    kind: str
    number: int
    position: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    size: tuple[int, int]
    thickness: float
    names: tuple[str, ...]
    traits: Mapping[str, str]
    white: bool = False
    projection: bool = False

    @property
    def normal(self) -> np.ndarray:
        """The direction in which slices are stacked."""
        return np.cross(*self.axes)

    @property
    def height(self) -> float:
        """Where it lies along the normal, millimetres."""
        return float(self.position @ self.normal)


class Other(NamedTuple):
    """An object that is no image of a patient.

    Attributes:
        path: its file.
        what: its class's name, such as ``"RT Dose Storage"``.
    """

    path: Path
    what: str


class OddImageError(DataError):
    """An image that can be no slice of a scan.

    Args:
        path: its file.
        problem: what is odd, and what to do.
        series: its series' identifier; empty where it has none or none can be read, and any series of its folder may lack it.
        kind: its SOP class; empty where it cannot be read.
        patient: whom it shows; None where that cannot be read.
    """

    def __init__(
        self, path: Path, problem: str, series: str = "", kind: str = "", patient: Identity | None = None
    ) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem, self.series, self.kind, self.patient = path, problem, series, kind, patient

    def may_belong_to(self, slices: list[Slice]) -> bool:
        """Whether it may be one of a series' slices."""
        first = slices[0]
        if self.kind and is_image(self.kind) and is_image(first.kind) and self.kind != first.kind:
            return False
        if self.patient is not None and self.patient.is_known and self.patient != first.patient:
            return False
        if self.series and self.series != first.series:
            return False
        known = self.series and self.patient is not None and self.patient.is_known
        return bool(known) or self.path.parent in {each.path.parent for each in slices}


def read_slice(path: Path) -> Slice | Other | None:
    """The header of a file; an `Other` where it is no image, such as a report or a dose; None where it is no DICOM.

    Raises:
        OddImageError: it is named like an image but cannot be read; or it is one without a position, of several frames, or in colour.
    """
    try:
        header = read_header(path)
    except ValueError as error:
        raise OddImageError(path, str(error)) from None
    if header is None:
        return None
    kind = header.kind
    image = is_image(kind)
    if image is False or (image is None and kind and not header.has_pixels and not any(header.size)):
        return Other(path, class_name(kind))
    patient = Identity.of(*(header.text(tag) for tag in (0x00100020, 0x00100010, 0x00100030)))
    try:
        header.check_voxels()
        _check_kind(header)
        return _slice(path, header, patient)
    except ValueError as error:
        raise OddImageError(path, str(error), header.text(0x0020000E), kind, patient) from None


def _check_kind(header: Header) -> None:
    frames, shade = int(header.number(0x00280008)), header.text(0x00280004)
    if header.short(0x00280002) > 1 or shade not in ("", "MONOCHROME1", "MONOCHROME2"):
        what = f"is a colour image ({shade or 'several samples a pixel'})"
        raise ValueError(f"{what}, of which no scan is put together; export it as grey slices")
    if frames > 1:
        raise ValueError(f"is a multi-frame image of {frames} frames ({class_name(header.kind)}), {_AS_SLICES}")


def _slice(path: Path, header: Header, patient: Identity) -> Slice:
    try:
        between = header.numbers(0x00280030, 2) if header.text(0x00280030) else header.numbers(0x00181164, 2)
        axes = header.numbers(0x00200037, 6).reshape(2, 3)
        axes /= np.sqrt((axes * axes).sum(axis=1, keepdims=True))
        position = header.numbers(0x00200032, 3)
        if not (min(between) > 0 and np.isfinite(axes).all() and abs(axes[0] @ axes[1]) < 1e-3):
            raise ValueError
    except ValueError:
        if has_frames(header.kind):
            raise ValueError(f"is a multi-frame image ({class_name(header.kind)}), {_AS_SLICES}") from None
        raise ValueError(
            "lacks a valid ImagePositionPatient, ImageOrientationPatient or PixelSpacing; export the series from the scanner's "
            "archive and not as pictures"
        ) from None
    thickness = header.number(0x00180088) or header.number(0x00180050)
    return Slice(
        path,
        patient,
        study=header.text(0x0020000D),
        series=header.text(0x0020000E),
        frame=header.text(0x00200052),
        kind=header.kind,
        number=int(header.number(0x00200013)),
        position=position,
        axes=axes,
        spacing=(float(between[1]), float(between[0])),
        size=header.size,
        thickness=thickness if thickness > 0 else 1.0,
        names=(header.text(0x00200011), header.description(0x0008103E)),
        traits=_traits(header),
        white=header.text(0x00280004) == "MONOCHROME1",
        projection=is_projection(header.text(0x00080060), header.kind),
    )


def _traits(header: Header) -> dict[str, str]:
    found = {name: header.text(tag) for name, tag in _TRAITS.items()}
    found["b"] = header.double(_WEIGHT)
    return {name: value for name, value in found.items() if value}
