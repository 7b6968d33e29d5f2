"""NRRD and MetaImage files through SimpleITK; its LPS millimetres and (z, y, x) arrays become RAS and (x, y, z)."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.formats.claims import refuse_excess
from fewmask.data.geometry import Geometry
from fewmask.errors import DataError

_MAGIC = {"NrrdImageIO": re.compile(rb"\ANRRD"), "MetaImageIO": re.compile(rb"^NDims *=", re.MULTILINE)}
HEADER = 2**20  # bytes; real ones have less than a hundred thousand
_VOXELS_IN = re.compile(
    rb"^[ \t]*(?:ElementDataFile[ \t]*[=:]|data ?file:)[ \t]*([^\r\n]*)", re.MULTILINE | re.IGNORECASE
)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path, label: bool) -> tuple[np.ndarray, Geometry]:
    """Voxels ``(C, *S)`` in their stored type and their geometry; a vector's components become channels."""
    import SimpleITK

    header = _header(path)
    voxels = math.prod(header.GetSize()) * header.GetNumberOfComponents()  # of a byte at least
    refuse_excess(voxels, _stored(path), packed=True)
    image = SimpleITK.ReadImage(str(path), imageIO=_reader_of(path))
    geometry = _geometry(path, image)
    values = SimpleITK.GetArrayViewFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 1:
        values = values[..., None]
    axes = tuple(reversed(range(image.GetDimension())))
    # A copy in any case: the view belongs to SimpleITK's image, and of a single row it would be returned as it is.
    turned = np.array(values.transpose(values.ndim - 1, *axes), order="C")
    return turned.reshape(-1, *geometry.shape), geometry


def read_geometry(path: Path) -> Geometry:
    """The geometry alone; reads the header only."""
    return _geometry(path, _header(path))


def write(path: Path, data: np.ndarray, geometry: Geometry, like: Path | None) -> None:
    """Write ``data`` ``(*S)``; where ``like`` has this geometry, origin, spacing and direction carry over exactly."""
    import SimpleITK

    original = _header(like) if like is not None else None
    if original is not None and not _geometry(path, original).matches(geometry, 1e-3):
        original = None
    dims = data.ndim if original is None else original.GetDimension()
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(data.reshape(data.shape + (1,) * (dims - data.ndim)).T))
    if original is not None:
        image.SetOrigin(original.GetOrigin())
        image.SetSpacing(original.GetSpacing())
        image.SetDirection(original.GetDirection())
    else:
        affine = LPS_TO_RAS @ geometry.affine
        spacing = np.linalg.norm(affine[:dims, :dims], axis=0)
        image.SetOrigin(affine[:dims, 3].tolist())
        image.SetSpacing(spacing.tolist())
        image.SetDirection((affine[:dims, :dims] / spacing).ravel().tolist())
    SimpleITK.WriteImage(image, str(path), True)
    _check_written(path, data)


def _check_written(path: Path, data: np.ndarray) -> None:
    """On a full disk ITK may say nothing and leave an empty file, so what it wrote is read once."""
    import SimpleITK

    try:
        there = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    except RuntimeError:
        there = np.empty(0)
    if not np.array_equal(there.ravel(), data.T.ravel()):
        raise OSError("what was written cannot be read again")


def _header(path: Path) -> Any:
    import SimpleITK

    _refuse_other_folders(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(_reader_of(path))
    reader.SetFileName(str(path))
    if not _MAGIC[_reader_of(path)].search(_start(path)):
        raise ValueError("its header is of another kind")
    reader.ReadImageInformation()
    return reader


def _reader_of(path: Path) -> str:
    """The reader that the ending says: ITK would go by the content alone, and try some twenty formats."""
    return "NrrdImageIO" if path.suffix.lower() == ".nrrd" else "MetaImageIO"


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEADER)


def _stored(path: Path) -> int:
    """Bytes of the file that holds the voxels, which the header may name."""
    named = _VOXELS_IN.search(_start(path))
    name = named[1].decode(errors="surrogateescape").strip() if named else "LOCAL"
    if name.upper() == "LOCAL":
        return path.stat().st_size
    if not path.with_name(name).is_file():
        raise DataError(f"{path}: keeps its voxels in {name}, which is missing; copy that file too")
    return path.with_name(name).stat().st_size


def _refuse_other_folders(path: Path) -> None:
    """A header may name the file with its voxels: one beside it, not any file of the machine, and no list of many."""
    header = _start(path)
    end = _BLANK_LINE if path.suffix.lower() == ".nrrd" else _VOXELS_IN
    if len(header) == HEADER and not end.search(header):
        raise DataError(f"{path}: has a header without end; export it anew")
    for name in _VOXELS_IN.findall(header):
        if name.strip().startswith((b"LIST", b"SKIP")) or b"%" in name or re.search(rb"[/\\:\0]", name):
            raise DataError(
                f"{path}: its voxels are in {name.decode(errors='replace').strip()!r}, outside its folder or in several "
                "files; save it as one file"
            )


def _geometry(path: Path, image: Any) -> Geometry:
    dims, shape = image.GetDimension(), tuple(image.GetSize())
    if dims not in (2, 3):
        raise DataError(f"{path}: has {dims} axes; save one 2D or 3D file a time point or channel")
    affine = np.eye(4)
    affine[:dims, :dims] = np.reshape(image.GetDirection(), (dims, dims)) * np.asarray(image.GetSpacing())
    affine[:dims, 3] = image.GetOrigin()
    return Geometry(shape[:2] if dims == 3 and shape[2] == 1 else shape, LPS_TO_RAS @ affine)
