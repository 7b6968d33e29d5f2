"""NRRD and MetaImage files through SimpleITK; its LPS millimetres and (z, y, x) arrays become RAS and (x, y, z)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.geometry import Geometry
from fewmask.errors import DataError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path, label: bool) -> tuple[np.ndarray, Geometry]:
    """Voxels ``(C, *S)`` in their stored type and their geometry; a vector's components become channels."""
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    geometry = _geometry(path, image)
    values = SimpleITK.GetArrayViewFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 1:
        values = values[..., None]
    axes = tuple(reversed(range(image.GetDimension())))
    turned = np.ascontiguousarray(values.transpose(values.ndim - 1, *axes))
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


def _header(path: Path) -> Any:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _geometry(path: Path, image: Any) -> Geometry:
    dims, shape = image.GetDimension(), tuple(image.GetSize())
    if dims not in (2, 3):
        raise DataError(f"{path}: has {dims} axes; save one 2D or 3D file a time point or channel")
    affine = np.eye(4)
    affine[:dims, :dims] = np.reshape(image.GetDirection(), (dims, dims)) * np.asarray(image.GetSpacing())
    affine[:dims, 3] = image.GetOrigin()
    return Geometry(shape[:2] if dims == 3 and shape[2] == 1 else shape, LPS_TO_RAS @ affine)
