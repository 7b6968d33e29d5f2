"""NIfTI files: nibabel keeps affines that a direction matrix of unit vectors could not express."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fewmask.data.formats.claims import refuse_excess
from fewmask.data.geometry import Geometry
from fewmask.errors import DataError

Code = Literal["sform", "qform"]
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}  # of a metre, a millimetre and a micrometre, by their code in xyzt_units
_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_HEADERS = {
    size.to_bytes(4, order): kind  # the first four bytes are the header's length
    for size, kind in ((348, "Nifti1Header"), (540, "Nifti2Header"))
    for order in _ORDERS
}
_LENGTHS = 0b111  # the bits of xyzt_units that say the unit of lengths; those above say that of time


def read(path: Path, label: bool, *, dims: int | None = None, first: Code = "sform") -> tuple[np.ndarray, Geometry]:
    """Voxels ``(C, *S)`` with slope and intercept applied, and their geometry.

    A fourth (time) or fifth (vector) axis and RGB voxels become channels; a single slice along any axis becomes a 2D image.

    Args:
        path: the file.
        label: whether to keep the stored type.
        dims: 3: a single slice, too, has three axes, in the order in which they are stored.
        first: the affine to take where the header has both.
    """
    header = _header(path)
    spatial, channels = _layout(path, header)
    geometry = _geometry(spatial, header, first, dims)
    with _opened(path, header) as voxels:
        if header.get_data_dtype().fields:
            stored = np.asarray(voxels)
            values = np.stack([stored[name] for name in ("R", "G", "B")], axis=-1)
        else:
            # A label is read in its own type, so that a value that no uint8 holds is seen and not rounded away.
            values = np.asarray(voxels) if label else np.asarray(voxels, dtype=np.float32)
    return np.moveaxis(values.reshape(*geometry.shape, channels), -1, 0), geometry


def read_geometry(path: Path, *, dims: int | None = None, first: Code = "sform") -> Geometry:
    """The geometry alone; reads the header only."""
    header = _header(path)
    return _geometry(_layout(path, header)[0], header, first, dims)


def codes_differ(path: Path) -> bool:
    """Whether the header has both codes, and two affines that are not one to rounding; quicker than `codes`."""
    header = _header(path)
    if not (header["sform_code"] > 0 and header["qform_code"] > 0):
        return False
    try:
        return not np.allclose(header.get_sform(), header.get_qform(), rtol=1e-6, atol=1e-6)
    except ValueError:  # a quaternion that is none
        return False


def codes(path: Path) -> dict[Code, Geometry]:
    """The grids that the header says under a code above 0: by its sform, its qform, or both."""
    return dict(_said(path, _header(path), None))


def write(path: Path, data: np.ndarray, geometry: Geometry, like: Path | None) -> None:
    """Write ``data`` ``(*S)``; where ``like`` lies on this grid, its header (axes, qform, sform, units) carries over."""
    import nibabel

    model = None if like is None else _model(like, data.ndim, geometry)
    if model is not None:
        header, sides, affine = model.copy(), model.get_data_shape()[:3], model.get_best_affine()
        header.extensions.clear()  # may hold the DICOM header, and with it the patient's name
        header["cal_min"] = header["cal_max"] = 0
        header.set_intent("none")
        kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
        image = kind(data.reshape(sides), affine, header)
        image.set_data_dtype(data.dtype)
    else:
        image = nibabel.Nifti1Image(data[..., None] if data.ndim == 2 else data, geometry.affine)
        image.set_data_dtype(data.dtype)
        image.set_sform(geometry.affine, code="scanner")
        if _is_rigid(geometry.affine):  # a quaternion cannot say a skewed affine
            image.set_qform(geometry.affine, code="scanner")
        image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def _model(like: Path, dims: int, geometry: Geometry) -> Any | None:
    """The header to write like, if one of its affines says this grid."""
    header = _header(like)
    usual = _geometry(_layout(like, header)[0], header, "sform", dims)
    found = itertools.chain([usual], (grid for _, grid in _said(like, header, dims)))
    return header if any(grid.matches(geometry, 1e-3) for grid in found) else None


def _said(path: Path, header: Any, dims: int | None) -> Iterator[tuple[Code, Geometry]]:
    spatial, _ = _layout(path, header)
    names: tuple[Code, ...] = ("sform", "qform")
    for name in names:
        if header[f"{name}_code"] > 0:
            with contextlib.suppress(ValueError):  # a quaternion that is none
                yield name, _geometry(spatial, header, name, dims)


@contextlib.contextmanager
def _opened(path: Path, header: Any) -> Iterator[Any]:
    """The voxels in reach, scaled where they are read; a gzip is read to its end, where it says whether it is whole."""
    from nibabel.arrayproxy import ArrayProxy

    packed = path.name.lower().endswith(".gz")
    voxels = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    refuse_excess(voxels, path.stat().st_size, packed=packed)
    if not packed:
        yield ArrayProxy(str(path), header, mmap=False)
        return
    with gzip.open(path) as stream:
        yield ArrayProxy(stream, header)
        while stream.read(1 << 20):
            pass


def _header(path: Path) -> Any:
    """The header, after a look at what nibabel would mend in silence: a spacing of 0 becomes 1 mm."""
    import nibabel

    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
        kind = _HEADERS.get(stream.read(4))
        if kind is None:
            raise ValueError("its header is of another kind")
        stream.seek(0)
        header = getattr(nibabel, kind).from_fileobj(stream)
        if header["sform_code"] == 0:
            stream.seek(0)
            raw = type(header).from_fileobj(stream, check=False)
            spacing = raw["pixdim"][1 : 1 + min(int(raw["dim"][0]), 3)]
            if not np.all(np.abs(spacing) > 0):
                lengths = " x ".join(f"{length:g}" for length in spacing)
                raise DataError(f"{path}: has a spacing of {lengths} mm; write the true one into its header")
    return header


def _is_rigid(affine: np.ndarray) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-5))


def _geometry(spatial: tuple[int, ...], header: Any, first: Code, dims: int | None) -> Geometry:
    """The grid in millimetres; the sform goes first, as in nibabel, unless the qform is asked for."""
    affine = header.get_qform() if first == "qform" and header["qform_code"] > 0 else header.get_best_affine()
    unit = _MILLIMETRES.get(int(header["xyzt_units"]) & _LENGTHS, 1.0)
    volume = Geometry(spatial, np.diag([unit, unit, unit, 1.0]) @ np.asarray(affine, dtype=np.float64))
    return volume if dims == 3 else volume.flat()


def _layout(path: Path, header: Any) -> tuple[tuple[int, ...], int]:
    """Three spatial sides, and channels."""
    shape = tuple(int(n) for n in header.get_data_shape())
    if not 2 <= len(shape) <= 5 or 0 in shape:
        raise DataError(f"{path}: has the shape {shape}; give a 2D or 3D image, its channels as a fourth axis")
    padded = (*shape, 1, 1, 1)[:5]
    channels = padded[3] * padded[4]
    if padded[3] > 1 and padded[4] > 1:
        raise DataError(f"{path}: has five axes {shape}; save one file a time point")
    if header.get_data_dtype().kind == "c":
        raise DataError(f"{path}: holds complex numbers; save its magnitude")
    if header.get_data_dtype().fields:
        channels = 3
    return padded[:3], channels
