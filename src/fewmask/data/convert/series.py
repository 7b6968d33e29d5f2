"""DICOM series: which slices make one, in which order they lie in the patient, and what is missing or odd among them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.convert.base import Files
from fewmask.data.formats.claims import refuse_excess
from fewmask.data.formats.itk import LPS_TO_RAS
from fewmask.data.geometry import Geometry
from fewmask.errors import DataError

_ENDINGS = (".dcm", ".ima")
# Kinds of objects without an image: reports and documents, presentation states, registrations, waveforms, radiotherapy plans.
_NO_IMAGE = re.compile(rb"1\.2\.840\.10008\.(1\.3\.10|5\.1\.4\.1\.1\.(88|104|11|66|9|67|481\.[3-9]))[.\0]")
_UNEVEN = 0.05  # of the distance between slices: what rounding and a moving table explain
_TILT = 0.05  # millimetres that a slice may lie beside the line through the first and the last


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


def find_series(files: Iterable[Path]) -> tuple[list[list[Slice]], list[OddImageError]]:
    """The slices of some files by series, in no particular order; and the images that can be part of none, with what is odd about them."""
    found: dict[str, list[Slice]] = {}
    odd: list[OddImageError] = []
    for path in files:
        try:
            header = read_slice(path)
        except OddImageError as error:
            odd.append(error)
            continue
        if header is not None:
            found.setdefault(header.series, []).append(header)
    return list(found.values()), odd


def fault_of(slices: list[Slice], odd: list[OddImageError]) -> OddImageError | None:
    """The first odd image that belongs to a series, or may."""
    folders = {each.path.parent for each in slices}
    mine = (
        each for each in odd if each.series == slices[0].series or (each.series is None and each.path.parent in folders)
    )
    return next(mine, None)


def stacked(slices: list[Slice]) -> list[Slice]:
    """The slices in the order in which they lie in the patient, whatever their names and numbers say.

    Raises:
        DataError: they do not make one even stack: slices are missing or there twice, or other images are among them.
    """
    first = slices[0]
    for other in slices[1:]:
        same = (
            other.size == first.size
            and np.allclose(other.axes, first.axes, atol=1e-3)
            and np.allclose(other.spacing, first.spacing, rtol=1e-3)
        )
        if not same:
            raise DataError(
                f"{other.path}: is of another size, spacing or direction than {first.path.name} of the same series; sort "
                "localisers and other series into folders of their own"
            )
    ordered = sorted(slices, key=lambda each: (each.height, each.number))
    _refuse_gaps(ordered)
    return ordered


def _refuse_gaps(ordered: list[Slice]) -> None:
    steps = np.diff([each.height for each in ordered])
    if not len(steps):
        return
    usual = float(np.median(steps))
    where = ordered[0].path.parent
    twice = [(low, high) for (low, high), step in zip(pairwise(ordered), steps, strict=True) if step < 1e-3]
    if twice:
        low, high = twice[0]
        raise DataError(
            f"{where}: has {len(twice) + 1} slices or more at one place, {low.path.name} and {high.path.name} among them: copies, or "
            "several time points; keep one of each"
        )
    gaps = [(low, high, step) for (low, high), step in zip(pairwise(ordered), steps, strict=True) if step > 1.5 * usual]
    if gaps:
        low, high, step = gaps[0]
        missing = sum(round(gap / usual) - 1 for *_, gap in gaps)
        raise DataError(
            f"{where}: lacks about {missing} of its slices: {low.path.name} and {high.path.name} are {step:.4g} mm apart where "
            f"others are {usual:.4g} mm; copy the series again"
        )
    worst = int(np.argmax(np.abs(steps - usual)))
    line = np.linspace(ordered[0].position, ordered[-1].position, len(ordered))
    beside = float(np.abs(np.array([each.position for each in ordered]) - line).max())
    if abs(steps[worst] - usual) > _UNEVEN * usual or beside > max(_TILT, _UNEVEN * usual):
        raise DataError(
            f"{where}: has uneven slices ({steps.min():.4g} to {steps.max():.4g} mm apart, {ordered[worst].path.name} for one); no "
            "grid fits them, so export the series again or leave it out"
        )


def misnumbered(ordered: list[Slice]) -> bool:
    """Whether a series is stacked in another order than its names would have it, or its instance numbers."""
    numbers = [each.number for each in ordered]
    names = [each.path.name for each in ordered]
    return not all(_monotone(values) for values in (numbers, names))


def _monotone(values: list[Any]) -> bool:
    return values in (sorted(values), sorted(values, reverse=True))


def geometry_of(ordered: list[Slice]) -> Geometry:
    """The grid of a stack; a tilted gantry makes it skewed, as it is."""
    first, last = ordered[0], ordered[-1]
    step = (last.position - first.position) / (len(ordered) - 1) if len(ordered) > 1 else first.normal * first.thickness
    affine = np.eye(4)
    affine[:3, 0] = first.axes[0] * first.spacing[0]
    affine[:3, 1] = first.axes[1] * first.spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    shape = (*first.size, len(ordered)) if len(ordered) > 1 else first.size
    return Geometry(shape, LPS_TO_RAS @ affine)


def read_stack(ordered: list[Slice]) -> tuple[np.ndarray, Geometry]:
    """Voxels ``(columns, rows, slices)`` with each slice's slope and intercept applied, and their grid.

    Whole numbers are int16 where they fit, else int32; others float32.

    Raises:
        DataError: a slice cannot be read.
    """
    import SimpleITK

    planes = []
    for each in ordered:
        try:
            plane = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(each.path), imageIO="GDCMImageIO"))
        except RuntimeError as error:
            raise DataError(
                f"{each.path}: has voxels that cannot be read ({str(error)[-120:].strip()}); copy it again"
            ) from error
        planes.append(_narrow(plane.reshape(each.size[::-1]).T))
    kind = np.result_type(*planes)
    geometry = geometry_of(ordered)
    return np.stack(planes, axis=-1, dtype=kind).reshape(geometry.shape), geometry


def _narrow(plane: np.ndarray) -> np.ndarray:
    if plane.dtype.kind == "f":
        return plane.astype(np.float32)
    fits = int(plane.min()) >= -(2**15) and int(plane.max()) < 2**15
    return plane.astype(np.int16 if fits else np.int32)


def slice_files(folder: Path) -> Files:
    """All files below a folder, by name."""
    from fewmask.data.convert.find import files, folders

    return (*files(folder), *(path for inner in folders(folder) for path in slice_files(inner)))
