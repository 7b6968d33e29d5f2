"""DICOM headers, one slice each: what can be part of a scan, and what is odd about the rest."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewmask.data.formats.claims import refuse_excess
from fewmask.errors import DataError

_ENDINGS = (".dcm", ".ima")
# Kinds of objects without an image: reports and documents, presentation states, registrations, waveforms, radiotherapy plans.
_NO_IMAGE = re.compile(rb"1\.2\.840\.10008\.(1\.3\.10|5\.1\.4\.1\.1\.(88|104|11|66|9|67|481\.[3-9]))[.\0]")


@dataclass(frozen=True, eq=False)
class Slice:
    """The header of a slice.

    Attributes:
        path: its file.
        series: its series' identifier.
        number: its place in the series as the scanner counted.
        position: of the first voxel, LPS millimetres.
        axes: (2, 3) directions along a row and along a column.
        spacing: between columns and between rows, millimetres.
        size: columns and rows.
        thickness: millimetres; of a single slice the only hint at its third spacing.
        names: series number and series description, for naming cases.
    """

    path: Path
    series: str
    number: int
    position: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    size: tuple[int, int]
    thickness: float
    names: tuple[str, str]

    @property
    def normal(self) -> np.ndarray:
        """The direction in which slices are stacked."""
        return np.cross(*self.axes)

    @property
    def height(self) -> float:
        """Where it lies along the normal, millimetres."""
        return float(self.position @ self.normal)


class OddImageError(DataError):
    """An image that can be no slice of a scan.

    Args:
        path: its file.
        problem: what is odd, and what to do.
        series: its series' identifier; None where it cannot be read, and any series of its folder may lack it.
    """

    def __init__(self, path: Path, problem: str, series: str | None = None) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem, self.series = path, problem, series


def read_slice(path: Path) -> Slice | None:
    """The header of a file; None where it is no DICOM image (a report, a plan, a directory file, something else).

    Raises:
        OddImageError: it is named like an image but cannot be read; or it is one without a position, of several frames, or in colour.
    """
    import SimpleITK

    if not _looks_like_dicom(path):
        return None
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        if path.suffix.lower() not in _ENDINGS or _NO_IMAGE.search(_start(path)):
            return None
        raise OddImageError(path, "is truncated or no DICOM image; copy it again") from None
    _refuse_excess(path, reader.GetSize())
    tags: dict[str, str] = {key: _text(reader.GetMetaData(key)) for key in reader.GetMetaDataKeys()}
    if tags.get("0008|0016", "").startswith("1.2.840.10008.1.3.10"):
        return None  # DICOMDIR
    if reader.GetNumberOfComponents() != 1 or _number(tags, "0028|0008") > 1:
        problem = "is a colour or multi-frame image, of which no scan is put together; export it as slices"
        raise OddImageError(path, problem, tags.get("0020|000e", ""))
    return _header(path, tags, reader.GetSize())


def _looks_like_dicom(path: Path) -> bool:
    return _start(path)[128:132] == b"DICM" or path.suffix.lower() in _ENDINGS


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)


def _text(value: str) -> str:
    return value.replace("\0", "").strip()


def _refuse_excess(path: Path, size: tuple[int, ...]) -> None:
    try:
        refuse_excess(math.prod(size), path.stat().st_size, packed=True)
    except ValueError as error:
        raise OddImageError(path, f"is no DICOM image: {error}; copy it again") from None


def _number(tags: dict[str, str], key: str) -> float:
    """A number that may be missing or odd; then 0."""
    try:
        value = float(tags.get(key, "0"))
    except ValueError:
        return 0.0
    return value if np.isfinite(value) else 0.0


def _header(path: Path, tags: dict[str, str], size: tuple[int, ...]) -> Slice:
    def numbers(key: str, count: int) -> np.ndarray:
        values = np.array([float(part) for part in tags[key].split("\\")])
        if values.shape != (count,) or not np.isfinite(values).all():
            raise ValueError
        return values

    try:
        between = numbers("0028|0030", 2) if "0028|0030" in tags else numbers("0018|1164", 2)
        axes = numbers("0020|0037", 6).reshape(2, 3)
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        position = numbers("0020|0032", 3)
        if not (min(between) > 0 and np.isfinite(axes).all() and abs(axes[0] @ axes[1]) < 1e-3):
            raise ValueError
    except (KeyError, ValueError):
        problem = (
            "lacks a valid ImagePositionPatient, ImageOrientationPatient or PixelSpacing; export the series from the scanner's "
            "archive and not as pictures"
        )
        raise OddImageError(path, problem, tags.get("0020|000e", "")) from None
    names = (tags.get("0020|0011", ""), tags.get("0008|103e", ""))
    thickness = _number(tags, "0018|0088") or _number(tags, "0018|0050")
    return Slice(
        path,
        tags.get("0020|000e", ""),
        int(_number(tags, "0020|0013")),
        position,
        axes,
        (float(between[1]), float(between[0])),
        (int(size[0]), int(size[1])),
        thickness if thickness > 0 else 1.0,
        names,
    )
