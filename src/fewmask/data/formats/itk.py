"""NRRD and MetaImage files through SimpleITK; its LPS lengths and (z, y, x) arrays become RAS millimetres and (x, y, z)."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.formats import metaimage
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


# of the units' names in capitals
_MILLIMETRES = {
    **dict.fromkeys(("M", "METER", "METERS", "METRE", "METRES"), 1e3),
    **dict.fromkeys(("CM", "CENTIMETER", "CENTIMETERS", "CENTIMETRE", "CENTIMETRES"), 10.0),
    **dict.fromkeys(("MM", "MILLIMETER", "MILLIMETERS", "MILLIMETRE", "MILLIMETRES"), 1.0),
    **dict.fromkeys(("UM", "\u00b5M", "\u039cM", "MICRON", "MICRONS", "MICROMETER", "MICROMETERS", "MICROMETRE", "MICROMETRES"), 1e-3),
    **dict.fromkeys(("IN", "INCH", "INCHES"), 25.4),
    **dict.fromkeys(("NM", "NANOMETER", "NANOMETERS", "NANOMETRE", "NANOMETRES"), 1e-6),
}  # fmt: skip
_UNITS = re.compile(rb"^(?:space )?units:[ \t]*([^\r\n]*)", re.MULTILINE | re.IGNORECASE)


def read(path: Path, label: bool, *, dims: int | None = None) -> tuple[np.ndarray, Geometry]:
    """Voxels ``(C, *S)`` in their stored type and their geometry; a vector's components become channels.

    Args:
        path: the file.
        label: is not needed here.
        dims: 3: a single slice, too, has three axes, in the order in which they are stored.
    """
    header = _header(path)
    sides, components = header.GetSize(), header.GetNumberOfComponents()
    refuse_excess(math.prod(sides) * components, _stored(path), packed=True)  # of a byte at least
    geometry = _geometry(path, header, dims)
    values = _values(path, sides, components)
    axes = tuple(reversed(range(len(sides))))
    # A copy in any case: a view belongs to SimpleITK's image, and of a single row it would be returned as it is.
    turned = np.array(values.transpose(values.ndim - 1, *axes), order="C")
    return turned.reshape(-1, *geometry.shape), geometry


def _values(path: Path, sides: tuple[int, ...], components: int) -> np.ndarray:
    """Voxels with the axes reversed, and their components."""
    import SimpleITK

    if _reader_of(path) == "MetaImageIO":
        start, file = _start(path), _voxel_file(path)
        offset = len(metaimage.head(start)) if file == path else 0
        voxels = math.prod(sides) * components
        metaimage.refuse_wide_longs(path, start, file.stat().st_size - offset, voxels)
        if (unpacked := metaimage.unpack(path, start, file, sides, components)) is not None:
            return unpacked
    image = SimpleITK.ReadImage(str(path), imageIO=_reader_of(path))
    values = np.asarray(SimpleITK.GetArrayFromImage(image))
    return values if components > 1 else values[..., None]


def read_geometry(path: Path, *, dims: int | None = None) -> Geometry:
    """The geometry alone; reads the header only."""
    return _geometry(path, _header(path), dims)


def write(path: Path, data: np.ndarray, geometry: Geometry, like: Path | None) -> None:
    """Write ``data`` ``(*S)``; where ``like`` has this geometry, origin, spacing and direction carry over exactly."""
    import SimpleITK

    original = None if like is None else _model(like, data.ndim, geometry)
    sides = data.shape if original is None else original.GetSize()
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(data.reshape(sides).T))
    if like is None or original is None:
        affine, dims = LPS_TO_RAS @ geometry.affine, data.ndim
        spacing = np.linalg.norm(affine[:dims, :dims], axis=0)
        image.SetOrigin(affine[:dims, 3].tolist())
        image.SetSpacing(spacing.tolist())
        image.SetDirection((affine[:dims, :dims] / spacing).ravel().tolist())
    else:
        unit = _unit(like)
        image.SetOrigin([unit * place for place in original.GetOrigin()])
        image.SetSpacing([unit * length for length in original.GetSpacing()])
        image.SetDirection(original.GetDirection())
    SimpleITK.WriteImage(image, str(path), True)
    _check_written(path, data)


def _model(like: Path, dims: int, geometry: Geometry) -> Any | None:
    """The header to write like, if it says this grid."""
    header = _header(like)
    return header if _geometry(like, header, dims).matches(geometry, 1e-3) else None


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
    return _voxel_file(path).stat().st_size


def _voxel_file(path: Path) -> Path:
    named = _VOXELS_IN.search(_start(path))
    name = named[1].decode(errors="surrogateescape").strip() if named else "LOCAL"
    if name.upper() == "LOCAL":
        return path
    if not path.with_name(name).is_file():
        raise DataError(f"{path}: keeps its voxels in {name}, which is missing; copy that file too")
    return path.with_name(name)


def _unit(path: Path) -> float:
    """The millimetres of a length in the header, which ITK takes as it is; 1 where no unit is said, or none of length.

    Raises:
        DataError: the axes have different units.
    """
    start = _start(path)
    if _reader_of(path) == "MetaImageIO":
        said = [metaimage.field(start, "DistanceUnits") or ""]
    else:
        found = [line.decode(errors="replace") for line in _UNITS.findall(_BLANK_LINE.split(start, 1)[0])]
        said = [name for line in found for name in re.findall(r'"([^"]*)"', line)]
    lengths = {_MILLIMETRES[name.strip().upper()] for name in said if name.strip().upper() in _MILLIMETRES}
    if len(lengths) > 1:
        raise DataError(f"{path}: has axes of different units ({', '.join(said)}); write millimetres into its header")
    return lengths.pop() if lengths else 1.0


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


def _geometry(path: Path, image: Any, given: int | None) -> Geometry:
    dims, shape = image.GetDimension(), tuple(image.GetSize())
    if dims not in (2, 3):
        raise DataError(f"{path}: has {dims} axes; save one 2D or 3D file a time point or channel")
    affine = np.eye(4)
    affine[:dims, :dims] = np.reshape(image.GetDirection(), (dims, dims)) * np.asarray(image.GetSpacing())
    affine[:dims, 3] = image.GetOrigin()
    unit = _unit(path)
    volume = Geometry((*shape, 1)[:3], np.diag([unit, unit, unit, 1.0]) @ LPS_TO_RAS @ affine)
    return volume if given == 3 else volume.flat()
