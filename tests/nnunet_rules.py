"""What nnU-Net 2 asks of a dataset folder (its ``verify_dataset_integrity``), checked without any of our code."""

import json
import re
from itertools import pairwise

import numpy as np
import SimpleITK
import tifffile
from PIL import Image

READ_BY_NNUNET = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".tif", ".tiff")


def read(path):
    """Channels first, spacing, origin and direction."""
    if path.name.endswith((".png", ".bmp")):
        pixels = np.asarray(Image.open(path))
        return (pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)), ()
    if path.name.endswith((".tif", ".tiff")):
        beside = path.with_name(re.sub(r"(_\d{4})?\.tiff?$", ".json", path.name))
        return tifffile.imread(path)[None], (json.loads(beside.read_text())["spacing"],)
    image = SimpleITK.ReadImage(str(path))
    return SimpleITK.GetArrayFromImage(image)[None], (image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def check(folder):
    """Assert that nnU-Net would take the folder; returns the training ids."""
    values = json.loads((folder / "dataset.json").read_text())
    assert {"labels", "channel_names", "numTraining", "file_ending"} <= set(values)
    ending = values["file_ending"]
    assert ending in READ_BY_NNUNET
    present = sorted(path.name for path in (folder / "imagesTr").iterdir())
    files = [name for name in present if name.endswith(ending)]  # hidden or half-written ones would be taken for cases
    spacings = [
        name for name in present if name not in files
    ]  # of TIFF stacks: beside each scan and each label the same
    assert all(name.endswith(".json") for name in spacings)
    assert all((folder / part / name).read_text() for name in spacings for part in ("imagesTr", "labelsTr"))
    cases = sorted({name[: -len(ending) - 5] for name in files})
    assert len(cases) == values["numTraining"]
    numbers = list(values["labels"].values())
    assert all(type(number) is int for number in numbers) and values["labels"]["background"] == 0
    assert all(second - first == 1 for first, second in pairwise(numbers))
    assert values["labels"].get("ignore", max(numbers)) == max(numbers)
    for case in cases:
        label, there = read(folder / "labelsTr" / f"{case}{ending}")
        parts = [read(folder / "imagesTr" / name) for name in files if name[: -len(ending) - 5] == case]
        names = [name for name in files if name[: -len(ending) - 5] == case]
        assert names == [f"{case}_{number:04d}{ending}" for number in range(len(names))]
        assert sum(len(image) for image, _ in parts) == len(values["channel_names"])
        for image, here in parts:
            assert image.shape[1:] == label.shape[1:] and not np.isnan(image).any()
            for one, other in zip(here, there, strict=True):
                np.testing.assert_allclose(one, other)
        assert len(label) == 1 and set(np.unique(label)) <= set(numbers)
    return cases
