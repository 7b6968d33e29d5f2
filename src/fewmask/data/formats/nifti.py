"""NIfTI files: nibabel keeps affines that a direction matrix of unit vectors could not express."""

from __future__ import annotations

import contextlib
import gzip
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.formats.claims import refuse_excess
from fewmask.data.geometry import Geometry
from fewmask.errors import DataError


def read(path: Path, label: bool) -> tuple[np.ndarray, Geometry]:
    """Voxels ``(C, *S)`` with slope and intercept applied, and their geometry.

    A fourth (time) or fifth (vector) axis and RGB voxels become channels; one slice in z becomes a 2D image.
    """
    with _opened(path) as file:
        spatial, channels = _layout(path, file)
        if file.get_data_dtype().fields:
            stored = np.asarray(file.dataobj)
            values = np.stack([stored[name] for name in ("R", "G", "B")], axis=-1)
        else:
            # A label is read in its own type, so that a value that no uint8 holds is seen and not rounded away.
            values = np.asarray(file.dataobj) if label else file.get_fdata(dtype=np.float32, caching="unchanged")
    values = np.moveaxis(values.reshape(*spatial, channels), -1, 0)
    return values, Geometry(spatial, np.asarray(file.affine, dtype=np.float64))


def read_geometry(path: Path) -> Geometry:
    """The geometry alone; reads the header only."""
    file = _load(path)
    return Geometry(_layout(path, file)[0], np.asarray(file.affine, dtype=np.float64))


def write(path: Path, data: np.ndarray, geometry: Geometry, like: Path | None) -> None:
    """Write ``data`` ``(*S)``; where ``like`` has this affine, the header (qform, sform, units) carries over."""
    import nibabel

    affine, header = geometry.affine, None
    if like is not None:
        original = nibabel.load(like, mmap=False)
        if np.allclose(original.affine, affine, rtol=0, atol=1e-4):
            affine, header = original.affine, original.header.copy()
            header.extensions.clear()  # may hold the DICOM header, and with it the patient's name
    values = data[..., None] if data.ndim == 2 else data
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    image = kind(values, affine, header)
    image.set_data_dtype(data.dtype)
    if header is None:
        image.set_sform(affine, code="scanner")
        if _is_rigid(affine):  # a quaternion cannot say a skewed affine
            image.set_qform(affine, code="scanner")
        image.header.set_xyzt_units("mm")
    else:
        image.header["cal_min"] = image.header["cal_max"] = 0
        image.header.set_intent("none")
    nibabel.save(image, path)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file with its voxels in reach; a gzip is read to its end, because only there it says whether it is whole."""
    file = _load(path)
    packed = path.name.lower().endswith(".gz")
    voxels = math.prod(file.shape) * file.get_data_dtype().itemsize
    refuse_excess(voxels, path.stat().st_size, packed=packed)
    if not packed:
        yield file
        return
    with gzip.open(path) as stream:
        yield type(file).from_stream(stream)
        while stream.read(1 << 20):
            pass


def _load(path: Path) -> Any:
    """The header, after a look at what nibabel would mend in silence: a spacing of 0 becomes 1 mm."""
    import nibabel
    from nibabel.openers import Opener

    file = nibabel.load(path, mmap=False)
    if isinstance(file, nibabel.Nifti1Image) and file.header["sform_code"] == 0:
        with Opener(path) as stream:
            raw = type(file.header).from_fileobj(stream, check=False)
        spacing = raw["pixdim"][1 : 1 + min(int(raw["dim"][0]), 3)]
        if not np.all(np.abs(spacing) > 0):
            lengths = " x ".join(f"{length:g}" for length in spacing)
            raise DataError(f"{path}: has a spacing of {lengths} mm; write the true one into its header")
    return file


def _is_rigid(affine: np.ndarray) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-5))


def _layout(path: Path, file: Any) -> tuple[tuple[int, ...], int]:
    shape = tuple(int(n) for n in file.shape)
    if not 2 <= len(shape) <= 5 or 0 in shape:
        raise DataError(f"{path}: has the shape {shape}; give a 2D or 3D image, its channels as a fourth axis")
    padded = (*shape, 1, 1, 1)[:5]
    channels = padded[3] * padded[4]
    if padded[3] > 1 and padded[4] > 1:
        raise DataError(f"{path}: has five axes {shape}; save one file a time point")
    if file.get_data_dtype().kind == "c":
        raise DataError(f"{path}: holds complex numbers; save its magnitude")
    if file.get_data_dtype().fields:
        channels = 3
    return (padded[:3] if padded[2] > 1 else padded[:2]), channels
