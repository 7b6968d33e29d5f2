"""Broken volumes: the check reports each, training and prediction refuse it, all in the same words."""

import numpy as np
import pytest

from corpus.faults import cut, flipped, nifti, noise, with_voxel, written
from corpus.harness import TRAIN, Case

AGAIN = "copy or export it anew"
FLAT = np.array([[1.0, 2, 0, 0], [2, 4, 0, 0], [0, 0, 1.5, 0], [0, 0, 0, 1]])  # two axes in one direction
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])

# fmt: off
FAULTS = {
    "zero bytes": (written(b""), AGAIN),
    "a gzip cut in the middle": (cut(2000), AGAIN),
    "a gzip cut within its header": (cut(9), AGAIN),
    "a gzip without its last bytes": (cut(-6), AGAIN),
    "a flipped bit in a gzip": (flipped(-5), AGAIN),
    "text": (written("not a scan\n" * 50), AGAIN),
    "a PNG called NIfTI": (written(b"\x89PNG\r\n\x1a\n" + bytes(400)), AGAIN),
    "one NaN": (with_voxel(np.nan), "replace them"),
    "one infinity": (with_voxel(-np.inf), "replace them"),
    "a number beyond float32": (with_voxel(1e300, np.float64), "replace them"),
    "nothing but NaN": (nifti(np.full((20, 18, 14), np.nan, np.float32)), "replace them"),
    "a film": (nifti(noise((20, 18, 14, 5))), "5 channels"),
    "five axes": (nifti(noise((5, 4, 3, 2, 2))), "a time point"),
    "seven axes": (nifti(noise((3, 3, 3, 1, 1, 1, 2))), "give a 2D or 3D image"),
    "a line": (nifti(noise((20,))), "give a 2D or 3D image"),
    "no voxel": (nifti(noise(), dim=[3, 0, 18, 14, 1, 1, 1, 1]), "give a 2D or 3D image"),
    "a negative size": (nifti(noise(), dim=[3, -20, 18, 14, 1, 1, 1, 1]), AGAIN),
    "complex numbers": (nifti(noise(dtype=np.complex64)), "save its magnitude"),
    "colours": (nifti(noise().astype("u1").repeat(3).view(RGB).reshape(20, 18, 14)), "3 channels"),
    "a zero spacing": (nifti(noise(), pixdim=[1, 1, 0, 1.5, 0, 0, 0, 0], sform_code=0, qform_code=0), "spacing"),
    "a singular affine": (nifti(noise(), srow_y=[0, 0, 0, 0], qform_code=0), "mend its header"),
    "two axes in one direction": (nifti(noise(), FLAT), "mend its header"),
    "a NaN in the affine": (nifti(noise(), srow_x=[np.nan, 0, 0, 0]), "mend its header"),
    "an infinite origin": (nifti(noise(), srow_x=[1, 0, 0, np.inf]), "mend its header"),
    "terabytes that are not there": (nifti(noise(), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), AGAIN),
    "gigabytes that are not there": (nifti(noise(), dim=[3, 2000, 2000, 1500, 1, 1, 1, 1]), AGAIN),
    "an unknown type of voxel": (nifti(noise(), datatype=4242), AGAIN),
}
# fmt: on
COMMANDS = {
    "check": ("check heart", "heart/imagesTr/case_001_0000.nii.gz"),
    "train": (TRAIN, "heart/imagesTr/case_001_0000.nii.gz"),
    "predict": ("predict runs/heart heart/imagesTr/case_001_0000.nii.gz out", "heart/imagesTr/case_001_0000.nii.gz"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", COMMANDS)
def test_broken_scan(verb, fault, found, refused):
    breaking, remedy = FAULTS[fault]
    command, file = COMMANDS[verb]
    judge = found if verb == "check" else refused
    judge(Case(fault, lambda place: breaking(place / file), command, "case_001_0000.nii.gz", remedy))
