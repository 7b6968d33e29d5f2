"""What other programs read from a volume: voxels in index order and an affine in RAS, to hold ours to."""

from __future__ import annotations

import metaimageio
import nrrd
import numpy as np
import SimpleITK

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TO_RAS = {
    "left-posterior-superior": LPS,
    "left-anterior-superior": np.diag([-1.0, 1, 1, 1]),
    "right-anterior-superior": np.eye(4),
}


def by_itk(path):
    """Voxels ``(x, y, z)`` (components last) and affine, as SimpleITK gives them."""
    image = SimpleITK.ReadImage(str(path))
    affine, dims = np.eye(4), image.GetDimension()
    affine[:dims, :dims] = np.reshape(image.GetDirection(), (dims, dims)) * image.GetSpacing()
    affine[:dims, 3] = image.GetOrigin()
    values = SimpleITK.GetArrayFromImage(image)
    return values.transpose(*reversed(range(dims)), *range(dims, values.ndim)), LPS @ affine


def by_pynrrd(path):
    """Array and affine of an NRRD file by pynrrd; the array's axes are the file's, the affine that of its spatial ones."""
    values, header = nrrd.read(str(path))
    directions = header["space directions"]
    affine = np.eye(4)
    affine[:3, :3] = directions[~np.isnan(directions).any(axis=1)].T
    affine[:3, 3] = header["space origin"]
    return values, TO_RAS[header["space"]] @ affine


def by_metaimageio(path):
    """Voxels ``(x, y, z)`` (components last) and affine of a MetaImage by metaimageio."""
    values, meta = metaimageio.read(str(path))
    dims, affine = meta["NDims"], np.eye(4)
    if (matrix := meta.get("TransformMatrix")) is not None:
        affine[:dims, :dims] = matrix
    affine[:dims, :dims] *= meta.get("ElementSpacing", meta.get("ElementSize", 1))
    affine[:dims, 3] = meta.get("Offset", 0)
    return values.transpose(*reversed(range(dims)), *range(dims, values.ndim)), LPS @ affine
