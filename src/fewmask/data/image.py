"""Scans and label maps, in whatever format they lie on disk.

Arrays are in index order: ``(x, y, z)`` with a RAS affine in 3D, ``(rows, columns)`` for bitmaps. Values are handed on
as they are: NaN and infinity pass (`fewmask check` reports them), integers become float32 exactly up to 2^24.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from fewmask.data.formats import bitmap, itk, nifti
from fewmask.data.geometry import Geometry
from fewmask.data.grids import agree, apart
from fewmask.errors import DataError
from fewmask.files import disk_is_full, make_folder, write_error
from fewmask.overwrite import refuse_change
from fewmask.places import refuse_special, special_kind
from fewmask.temporary import temporary_folder

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice

__all__ = [
    "SUFFIXES",
    "VOLUMES",
    "Geometry",
    "Image",
    "read_channels",
    "read_geometry",
    "read_image",
    "read_label",
    "suffix_of",
    "write_image",
]

_FORMATS: dict[str, ModuleType] = {
    ".nii.gz": nifti,
    ".nii": nifti,
    ".nrrd": itk,
    ".mha": itk,
    ".mhd": itk,
    ".png": bitmap,
    ".bmp": bitmap,
    ".tif": bitmap,
    ".tiff": bitmap,
    ".jpg": bitmap,
    ".jpeg": bitmap,
}
SUFFIXES = tuple(_FORMATS)
VOLUMES = tuple(suffix for suffix, handler in _FORMATS.items() if handler is not bitmap)


@dataclass(frozen=True, eq=False)
class Image:
    """An image ``(C, *S)`` float32 or a label map ``(*S)`` uint8 with its geometry and the file it came from."""

    data: np.ndarray
    geometry: Geometry
    path: Path


def suffix_of(path: Path | str) -> str:
    """The supported ending of a file name, lower case (``".nii.gz"`` in full).

    Raises:
        DataError: the ending is none of `SUFFIXES`.
    """
    name = (path if isinstance(path, Path) else Path(path)).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            return suffix
    raise DataError(f"{path}: is not in a supported format; convert it to one of {', '.join(SUFFIXES)}")


def read_image(path: Path | str, *, dims: int | None = None, by: GeometryChoice = "header") -> Image:
    """An image as float32 ``(C, *S)``; RGB and vector voxels are channels, a single slice is 2D.

    Args:
        path: the file.
        dims: of the data set: among volumes (3) a single slice of a volume's format is a volume, too.
        by: ``qform``: of NIfTI, take the qform before the sform.

    Raises:
        DataError: the file is missing, damaged or of a kind that cannot be read.
    """
    values, geometry = _read(Path(path), label=False, dims=dims, by=by)
    return Image(np.ascontiguousarray(values, dtype=np.float32), geometry, Path(path))


def read_channels(paths: Sequence[Path], *, dims: int | None = None, by: GeometryChoice = "header") -> Image:
    """A scan whose channels lie in several files, as float32 ``(C, *S)`` in the order of ``paths``; its path is the first.

    Args:
        paths: the files.
        dims: see `read_image`.
        by: likewise; and under ``scan``, channels lie on the grid of the first one if they have its shape.

    Raises:
        DataError: a file cannot be read, or lies on another grid than the first.
    """
    images = [read_image(path, dims=dims, by=by) for path in paths]
    first = images[0]
    if len(images) == 1:
        return first
    for image in images[1:]:
        if not agree(image.geometry, first.geometry, by):
            raise DataError(f"{image.path}: {apart(image.path, image.geometry, first.path, first.geometry, by)}")
    return Image(np.concatenate([image.data for image in images]), first.geometry, first.path)


def read_label(path: Path | str, *, dims: int | None = None, by: GeometryChoice = "header") -> Image:
    """A label map as uint8 ``(*S)``; whole numbers that are stored as floats are fine.

    Args:
        path: the file.
        dims: see `read_image`.
        by: likewise.

    Raises:
        DataError: the file cannot be read, or holds differing channels or a value that is no whole number of 0 to 255.
    """
    path = Path(path)
    values, geometry = _read(path, label=True, dims=dims, by=by)
    if any(not np.array_equal(channel, values[0]) for channel in values[1:]):
        raise DataError(
            f"{path}: has {len(values)} differing channels, but a label map has one number a voxel; save class numbers"
        )
    values = values[0]
    if values.dtype.kind != "b" and values.dtype != np.uint8:
        rounded = np.rint(values)
        if not (np.isfinite(values).all() and np.allclose(values, rounded, rtol=0, atol=1e-3)):
            raise DataError(f"{path}: holds label values that are not whole numbers; save it without interpolation")
        if rounded.min() < 0 or rounded.max() > 255:
            raise DataError(
                f"{path}: holds label values from {rounded.min():g} to {rounded.max():g}; renumber them to 0 to 255"
            )
        values = rounded
    return Image(np.ascontiguousarray(values, dtype=np.uint8), geometry, path)


def read_geometry(path: Path | str, *, dims: int | None = None, by: GeometryChoice = "header") -> Geometry:
    """Shape and affine from the header, without the voxels.

    Args:
        path: the file.
        dims: see `read_image`.
        by: likewise.

    Raises:
        DataError: the file is missing or its header is damaged.
    """
    path = Path(path)
    handler = _handler(path)
    try:
        refuse_special(path)
        geometry: Geometry = handler.read_geometry(path, **_choices(handler, dims, by))
    except Exception as error:
        raise unreadable(path, error) from error
    _check_affine(path, geometry)
    return geometry


def write_image(
    path: Path | str,
    data: np.ndarray,
    geometry: Geometry,
    like: Path | str | None = None,
    *,
    overwrite: bool = True,
) -> None:
    """Write a label map (integers become uint8) or a map of values (float32); the ending chooses the format.

    The file appears in full or not at all: it is written beside its place and then moved.

    Args:
        path: where to; its folder is made if need be.
        data: ``(*S)``.
        geometry: of ``data``.
        like: a file on the same grid; if it is of the same format, what its header says beyond `Geometry` carries over.
        overwrite: whether a file with other contents is replaced; one with the same bytes is left as it is.

    Raises:
        DataError: the format cannot hold the values, or the shapes differ.
        WriteError: the disk is full, the folder cannot be written, or see ``overwrite``; a file that was there before is whole.
    """
    path = Path(path)
    suffix, handler = suffix_of(path), _handler(path)
    if tuple(data.shape) != tuple(geometry.shape):
        raise DataError(f"{path}: the array is {data.shape}, its grid {geometry.shape}; pass the array's own geometry")
    values = _storable(path, suffix, data)
    model = Path(like) if like is not None and _FORMATS[suffix_of(like)] is handler else None
    make_folder(path.parent)
    try:
        # A folder of its own, because .mhd is two files; the header, which names the other, moves last.
        with temporary_folder(path.parent) as folder:
            whole = folder / f"{path.name[: -len(suffix)]}{suffix}"
            try:
                handler.write(whole, values, geometry, model)
            except (OSError, RuntimeError) as error:  # SimpleITK raises RuntimeError
                raise write_error(path, error, full=disk_is_full(error, path.parent)) from error
            files = [*sorted(set(folder.iterdir()) - {whole}), whole]
            places = [path.with_name(file.name) if file != whole else path for file in files]
            there = [not overwrite and refuse_change(*pair) for pair in zip(places, files, strict=True)]
            for file, place, same in zip(files, places, there, strict=True):
                if not same:
                    file.replace(place)
    except OSError as error:
        raise write_error(path, error) from error


def _handler(path: Path) -> ModuleType:
    return _FORMATS[suffix_of(path)]


def _choices(handler: ModuleType, dims: int | None, by: GeometryChoice) -> dict[str, Any]:
    """What a reader is told beside the path: a bitmap knows neither slices that are volumes nor codes."""
    if handler is bitmap:
        return {}
    return {"dims": dims, "first": "qform" if by == "qform" else "sform"} if handler is nifti else {"dims": dims}


def _read(path: Path, label: bool, dims: int | None, by: GeometryChoice) -> tuple[np.ndarray, Geometry]:
    handler = _handler(path)
    try:
        refuse_special(path)
        values, geometry = handler.read(path, label, **_choices(handler, dims, by))
    except Exception as error:  # damaged files raise a dozen kinds, zlib.error and SyntaxError among them
        raise unreadable(path, error) from error
    if values.size == 0:
        raise DataError(f"{path}: holds no voxels; export it anew")
    if values.dtype.kind == "c":
        raise DataError(f"{path}: holds complex numbers; save its magnitude")
    _check_affine(path, geometry)
    return values, geometry


def _check_affine(path: Path, geometry: Geometry) -> None:
    """Every axis must have a length and a direction of its own; of a single slice the axis across it does not matter."""
    if np.isfinite(geometry.affine).all():
        axes = geometry.affine[:3, : len(geometry.shape)]
        lengths = np.linalg.norm(axes, axis=0)
        if lengths.all() and np.linalg.svd(axes / lengths, compute_uv=False)[-1] > 1e-3:
            return
    raise DataError(f"{path}: has an affine that is not finite or spans no volume; mend its header")


def unreadable(path: Path, error: Exception) -> DataError:
    """Why a file cannot be read, whatever its reader raised, and what to do."""
    if isinstance(error, DataError):
        return error
    return DataError(f"{path}: {_reason(path, error)}")


def _reason(path: Path, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1][:160].rstrip(".") if lines else type(error).__name__
    text = f"is truncated or not in the format {suffix_of(path)} says ({reason}); copy or export it anew"
    if path.is_dir():
        text = "is a folder; put an image file in its place"
    elif kind := special_kind(path):
        text = f"is {kind} and no file; remove it, or put an image file in its place"
    elif not path.is_file():
        text = f"{'is a link that leads nowhere' if path.is_symlink() else 'does not exist'}; check the path"
    elif isinstance(error, MemoryError):
        text = "does not fit into memory; close other programs or crop the scan"
    elif isinstance(error, PermissionError):
        text = "may not be read; ask for the rights to it"
    elif path.stat().st_size == 0:
        text = "is empty (zero bytes); copy or export it anew"
    elif isinstance(error, OSError) and error.errno:
        text = f"cannot be read ({error.strerror}); check the disk and the path"
    return text


def _storable(path: Path, suffix: str, data: np.ndarray) -> np.ndarray:
    """``data`` as the type that is written: uint8 for whole numbers, float32 for others."""
    if data.dtype.kind in "bui":
        if data.dtype != np.uint8 and data.size and not 0 <= int(data.min()) <= int(data.max()) <= 255:
            raise DataError(f"{path}: label values from {data.min()} to {data.max()} do not fit; use 0 to 255")
        values = np.ascontiguousarray(data, dtype=np.uint8)
    else:
        values = np.ascontiguousarray(data, dtype=np.float32)
    if suffix in bitmap.JPEG:
        raise DataError(f"{path}: JPEG changes pixel values and so cannot hold labels or maps; write .png or .tif")
    if suffix in (".png", ".bmp") and (values.ndim != 2 or values.dtype != np.uint8):
        raise DataError(f"{path}: {suffix} holds 2D labels only, not {values.ndim}D {values.dtype}; write .tif")
    return values
