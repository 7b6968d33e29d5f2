"""Tiny synthetic copies of the layouts in which data sets are downloaded: same names, formats and quirks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewmask.data.geometry import Geometry
from fewmask.data.image import write_image
from helpers import blobs

LA_CASES = ("06SR5RBREL16DQ6M8LWS", "0RZDK210BSMWAA6467LU", "ULHWPWKKLTE921LQLH1P")


def everything(folder):
    """Every path below a folder, with the contents of the files."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(Path(folder).rglob("*"))}


def scan(number=0, shape=(12, 10, 8), classes=2):
    """An image of whole numbers ``(*S)`` uint8 and its label."""
    image, label = blobs(shape, classes, seed=number)
    return image[0].astype(np.uint8), label


def write_la(root, cases=LA_CASES):
    """NRRD folders of the challenge: LPS axes, 0.625 mm, 255 for the atrium."""
    for number, case in enumerate(cases):
        image, label = scan(number)
        geometry = Geometry(image.shape, np.diag([-0.625, -0.625, 0.625, 1.0]))
        write_image(root / "Training Set" / case / "lgemri.nrrd", image, geometry)
        write_image(root / "Training Set" / case / "laendo.nrrd", label * 255, geometry)
    return root


def write_h5(path, image, label):
    """An image and a label as the field passes them around."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=image, compression="gzip")
        file.create_dataset("label", data=label, compression="gzip")


def write_la_copies(root, cases=LA_CASES):
    """The field's normalised copies."""
    for number, case in enumerate(cases):
        image, label = scan(number)
        values = (image - image.mean(dtype=np.float64)) / image.std(dtype=np.float64)
        write_h5(root / "2018LA_Seg_Training Set" / case / "mri_norm2.h5", values.astype(np.float32), label)
    return root
