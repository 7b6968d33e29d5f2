"""Tiny synthetic copies of the layouts in which data sets are downloaded: same names, formats and quirks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from dicom import write_series
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


def write_nifti(path, values, affine=None):
    """A NIfTI file in the type of its values, as other programs write it."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 1.5, 1.0]) if affine is None else affine), path)


def ct(number=0, shape=(14, 12, 10)):
    """A CT scan in HU, int16, of air, fat and one organ of soft tissue; and the organ."""
    _, label = blobs(shape, seed=number)
    values = np.random.default_rng(number).integers(-1000, -900, shape)
    return np.where(label > 0, 90, values).astype(np.int16), label


def write_pancreas(root, numbers=(1, 2, 25), order=None):
    """DICOM scans whose labels lie voxel by voxel beside the slices, with headers that say otherwise."""
    for number in numbers:
        values, label = ct(number)
        folder = root / f"Pancreas-CT/PANCREAS_{number:04d}/11-24-2015-PANCREAS0001-Pancreas-18957/Pancreas-99667"
        write_series(folder, values + np.int16(1024), intercept=-1024, order=order)
        if number != 25:
            turned = label if order is None else label[:, :, order]
            write_nifti(root / f"TCIA_pancreas_labels-02-05-2017/label{number:04d}.nii.gz", turned)
    return root


def write_brats(root, ending=".nii.gz"):
    """One high-grade and one low-grade case; labels 0, 1, 2 and 4."""
    cases = {"HGG": "BraTS19_2013_2_1", "LGG": "BraTS19_TCIA10_420_1"}
    affine = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
    for number, (grade, case) in enumerate(cases.items()):
        image, label = scan(number, classes=4)
        folder = root / "MICCAI_BraTS_2019_Data_Training" / grade / case
        for place, name in enumerate(("flair", "t1", "t1ce", "t2")):
            write_nifti(folder / f"{case}_{name}{ending}", image.astype(np.int16) + place, affine)
        write_nifti(folder / f"{case}_seg{ending}", np.where(label == 3, 4, label).astype(np.uint8), affine)
    (root / "MICCAI_BraTS_2019_Data_Training/name_mapping.csv").write_text("Grade\n")
    return root


def write_acdc(root, training=(1, 2), testing=(101,)):
    """Patients with two labelled frames and the whole film."""
    for part, numbers in (("training", training), ("testing", testing)):
        for number in numbers:
            name = f"patient{number:03d}"
            folder = root / "database" / part / name
            folder.mkdir(parents=True)
            (folder / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n")
            for frame in (1, 12):
                image, label = scan(number + frame, classes=4)
                write_nifti(folder / f"{name}_frame{frame:02d}.nii.gz", image.astype(np.int16))
                write_nifti(folder / f"{name}_frame{frame:02d}_gt.nii.gz", label)
            write_nifti(folder / f"{name}_4d.nii.gz", np.zeros((2, 2, 2, 2), np.int16))
    return root


def write_msd(root, channels=1, cases=2):
    """A task of the decathlon, with what macOS left in its archive."""
    root = root / "Task01_BrainTumour"
    names = [f"BRATS_{number:03d}" for number in range(1, cases + 1)]
    for number, name in enumerate([*names, "BRATS_900"]):
        image, label = scan(number, classes=3)
        stacked = np.stack([image.astype(np.float32) + n for n in range(channels)], axis=-1)
        folder = "imagesTs" if name == "BRATS_900" else "imagesTr"
        write_nifti(root / folder / f"{name}.nii.gz", stacked[..., 0] if channels == 1 else stacked)
        if folder == "imagesTr":
            write_nifti(root / "labelsTr" / f"{name}.nii.gz", label)
        (root / folder / f"._{name}.nii.gz").write_bytes(b"junk")
    values = {
        "name": "BRATS",
        "reference": "somebody",
        "tensorImageSize": "4D",
        "modality": {str(n): ["FLAIR", "T1w", "t1gd", "T2w"][n] for n in range(channels)},
        "labels": {"0": "background", "1": "edema", "2": "tumour"},
        "numTraining": cases,
        "numTest": 1,
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names],
        "test": ["./imagesTs/BRATS_900.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(values))
    return root.parent


def write_picture_file(path, pixels):
    """A picture ``(rows, columns)`` or ``(rows, columns, 3)`` by the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def rgb(number=0, shape=(20, 16)):
    """A picture ``(rows, columns, 3)`` and its mask ``(rows, columns)`` of 0 and 1."""
    image, label = blobs(shape, 2, 3, seed=number)
    return image.astype(np.uint8).transpose(1, 2, 0), label
