"""Broken label maps: found by the check, refused by training and by evaluation."""

import numpy as np
import pytest

from corpus.faults import AFFINE, cut, nifti, noise, written
from corpus.harness import TRAIN, Case

MASK = (noise() > 50).astype(np.float32)
INTEGERS = np.int64  # of 64 bits: what numpy makes of a mask unless told


def with_label(value, dtype):
    values = MASK.astype(dtype)
    values[3, 3, 3] = value
    return nifti(values)


def shifted(offset):
    affine = AFFINE.copy()
    affine[0, 3] = offset
    return affine


# fmt: off
FAULTS = {
    "zero bytes": (written(b""), "copy or export it anew"),
    "cut short": (cut(60), "copy or export it anew"),
    "between two classes": (with_label(0.5, np.float32), "save it without interpolation"),
    "NaN": (with_label(np.nan, np.float32), "save it without interpolation"),
    "negative": (with_label(-1, np.int16), "renumber them"),
    "256, which would wrap to 0": (with_label(256, np.int16), "renumber them"),
    "2^32 + 1, which would wrap to 1": (with_label(2**32 + 1, INTEGERS), "renumber them"),
    "2^63 - 1": (with_label(2**63 - 1, INTEGERS), "renumber them"),
    "2^64 - 1": (with_label(2**64 - 1, np.uint64), "renumber them"),
    "1e30": (with_label(1e30, np.float64), "renumber them"),
    "a class that is not named": (with_label(2, np.uint8), "renumber"),
    "255 for the object": (nifti((MASK * 255).astype(np.uint8)), "renumber"),
    "another shape": (nifti(MASK[:-1].astype(np.uint8)), "resample"),
    "another place": (nifti(MASK.astype(np.uint8), shifted(40)), "take --geometry scan"),
    "mirrored": (nifti(MASK.astype(np.uint8), AFFINE @ np.diag([-1, 1, 1, 1])), "take --geometry scan"),
    "one map a class": (nifti(np.stack([MASK, 1 - MASK], axis=-1)), "save class numbers"),
    "a slice": (nifti(MASK[..., :1].astype(np.uint8)), "resample"),
    "a singular affine": (nifti(MASK.astype(np.uint8), srow_y=[0, 0, 0, 0], qform_code=0), "mend its header"),
}
# fmt: on
COMMANDS = {
    "check": ("check heart", "heart/labelsTr/case_001.nii.gz"),
    "train": (TRAIN, "heart/labelsTr/case_001.nii.gz"),
    "evaluate": ("evaluate runs/heart/predictions heart/labelsTs", "runs/heart/predictions/test_001.nii.gz"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", COMMANDS)
def test_broken_label(verb, fault, found, refused):
    breaking, remedy = FAULTS[fault]
    command, file = COMMANDS[verb]
    judge = found if verb == "check" else refused
    judge(Case(fault, lambda place: breaking(place / file), command, file.split("/")[-1], remedy))
