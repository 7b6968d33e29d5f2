"""What `check_dataset` looks for in one case."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewmask.data.check.findings import Finding, Row, Severity
from fewmask.data.check.inspect_grid import about_grid
from fewmask.data.formats.bitmap import exif_orientation
from fewmask.data.image import Image, read_image, read_label, suffix_of
from fewmask.data.layout import Case
from fewmask.errors import DataError

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice


@dataclass
class Inspection:
    """One case as it was found.

    Attributes:
        case: the case.
        row: its figures.
        digest: of all its voxels; equal for equal scans, whatever their names and headers. None if a file is unreadable.
        findings: about its files.
    """

    case: Case
    row: Row
    digest: str | None = None
    findings: list[Finding] = field(default_factory=list)


def inspect_case(
    case: Case,
    class_names: tuple[str, ...],
    channels: int,
    *,
    dims: int | None = None,
    by: GeometryChoice = "header",
) -> Inspection:
    """Read the files of a case, one after the other, and say what is odd about them.

    Args:
        case: the case; a label is opened only where it names one.
        class_names: of ``dataset.json``.
        channels: as many as ``dataset.json`` names.
        dims: of the data set; among volumes a single slice is a volume of one slice.
        by: what says where voxels lie; see `fewmask.config.PreprocessConfig`.
    """
    result = Inspection(case, Row(case.id, case.group))
    images = [image for path in case.images if (image := _read(result, path, False, dims, by)) is not None]
    for image in images:
        _add(result, image.path, _about_image(image))
        _add(result, image.path, about_grid(image, images[0], by))
    found = sum(len(image.data) for image in images)
    complete = len(images) == len(case.images)
    if complete and found != channels and len(images) in (1, channels):  # other numbers of files are found by name
        message = f"has {found} channels, but dataset.json names {channels}; convert it or mend channel_names"
        _add(result, case.images[0], [("error", message)])
    volumes = None
    if case.label is not None and (label := _read(result, case.label, True, dims, by)) is not None:
        counts = np.bincount(label.data.ravel(), minlength=len(class_names))
        _add(result, case.label, _about_label(counts, len(class_names)))
        if images:
            _add(result, case.label, about_grid(label, images[0], by))
        volumes = tuple(int(count) for count in counts[: len(class_names)])
    if images:
        grid = images[0].geometry
        result.row = Row(case.id, case.group, grid.shape, grid.spacing, found, _intensity(images), volumes, grid.unit)
        result.digest = _digest(images) if complete else None
    else:
        result.row = Row(case.id, case.group, volumes=volumes)
    return result


def _add(result: Inspection, path: Path, messages: Iterator[tuple[Severity, str]] | list[tuple[Severity, str]]) -> None:
    result.findings.extend(Finding(severity, result.case.id, path, message) for severity, message in messages)


def _read(result: Inspection, path: Path, label: bool, dims: int | None, by: GeometryChoice) -> Image | None:
    try:
        return read_label(path, dims=dims, by=by) if label else read_image(path, dims=dims, by=by)
    except DataError as error:
        _add(result, path, [("error", str(error).removeprefix(f"{path}: "))])
        return None


def _about_image(image: Image) -> Iterator[tuple[Severity, str]]:
    for number, channel in enumerate(image.data):
        where = f" in channel {number}" if len(image.data) > 1 else ""
        odd = channel.size - int(np.count_nonzero(np.isfinite(channel)))
        if odd:
            yield (
                "error",
                f"has {odd} voxels that are NaN or infinite{where}; replace them, for example by the background's value",
            )
        elif channel.min() == channel.max():
            yield "warning", f"is constant ({channel.flat[0]:g}){where}; check the export"
    bitmap = suffix_of(image.path) in (".jpg", ".jpeg", ".tif", ".tiff", ".png")
    if bitmap and (orientation := exif_orientation(image.path)) != 1:
        yield (
            "warning",
            f"asks viewers to turn it (EXIF orientation {orientation}); fewmask does not, so check its label",
        )


def _about_label(counts: np.ndarray, classes: int) -> Iterator[tuple[Severity, str]]:
    strange = [int(value) for value in np.flatnonzero(counts) if value >= classes]
    if strange:
        values = ", ".join(map(str, strange[:6])) + (", ..." if len(strange) > 6 else "")
        yield (
            "error",
            f"holds the values {values}, which are not in dataset.json (0 to {classes - 1}); add or renumber them",
        )
    elif not counts[1:].any():
        yield "warning", "is empty: background only; check that this is meant"


def _intensity(images: list[Image]) -> tuple[float, float, float] | None:
    parts = [image.data if np.isfinite(image.data).all() else image.data[np.isfinite(image.data)] for image in images]
    parts = [part for part in parts if part.size]
    if not parts:
        return None
    mean = sum(float(part.sum(dtype=np.float64)) for part in parts) / sum(part.size for part in parts)
    return float(min(part.min() for part in parts)), mean, float(max(part.max() for part in parts))


def _digest(images: list[Image]) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    for image in images:
        digest.update(repr(image.data.shape).encode())
        digest.update(image.data.data)
    return digest.hexdigest()
