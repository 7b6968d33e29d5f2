"""Small data sets for tests, drawn from a seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fewmask.data.image import Geometry, write_image

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def blobs(shape, classes=2, channels=1, seed=0):
    """An image ``(channels, *shape)`` of noise with one brighter ball a foreground class, and its label ``shape``."""
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    for value in range(1, classes):
        radius = min(shape) * rng.uniform(0.18, 0.28)
        centre = [rng.uniform(radius, n - radius) for n in shape]
        label[np.linalg.norm(grid - centre, axis=-1) <= radius] = value
    noise = rng.normal(0, 12, (channels, *shape))
    return np.clip(60 + 120 * label / (classes - 1) + noise, 0, 255).astype(np.float32), label


def write_dataset(
    root,
    cases=4,
    dims=3,
    channels=1,
    classes=2,
    ending=None,
    test=0,
    unlabelled=0,
    shape=None,
    spacing=None,
    seed=0,
    **description,
):
    """Write a dataset folder and return its path.

    Training cases are ``case_000``..., scans without labels ``extra_000``..., test cases ``test_000``...; more entries of
    dataset.json can be given as keywords. Three channels in a bitmap format make one RGB file, otherwise one file a channel.
    """
    root = Path(root)
    ending = ending or (".nii.gz" if dims == 3 else ".png")
    shape = shape or ((20, 18, 14) if dims == 3 else (40, 36))
    spacing = spacing or ((1.0, 1.0, 1.5) if dims == 3 else (1.0, 1.0))
    affine = np.diag([*spacing, *[1.0] * (4 - dims)])
    names = ["background", *(f"class {value}" for value in range(1, classes))]
    groups = [("imagesTr", "labelsTr", "case", cases), ("imagesUn", None, "extra", unlabelled)]
    groups.append(("imagesTs", "labelsTs", "test", test))
    for images, labels, stem, count in groups:
        for number in range(count):
            seed += 1
            image, label = blobs(shape, classes, channels, seed)
            name = f"{stem}_{number:03d}"
            write_scan(root / images, name, image, ending, affine)
            if labels:
                write_image(root / labels / f"{name}{label_ending(ending)}", label, Geometry(shape, affine))
    values = {
        "channel_names": {str(n): f"channel {n}" for n in range(channels)},
        "labels": {name: value for value, name in enumerate(names)},
        "numTraining": cases,
        "file_ending": ending,
        "name": "Blobs",
        **description,
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(values))
    return root


def write_scan(folder, name, image, ending, affine=None):
    """Write an image ``(C, *S)`` as the channel files of a case; RGB bitmaps as one file."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = image.shape[1:]
    if ending in (".png", ".bmp", ".tif", ".jpg") and len(shape) == 2:
        from PIL import Image

        pixels = image.astype(np.uint8)
        for number, planes in enumerate([pixels] if len(pixels) == 3 else pixels[:, None]):
            array = planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)
            Image.fromarray(array).save(folder / f"{name}_{number:04d}{ending}")
        return
    for number, channel in enumerate(image):
        geometry = Geometry(shape, np.eye(4) if affine is None else affine)
        write_image(folder / f"{name}_{number:04d}{ending}", channel, geometry)


def label_ending(ending):
    """The ending of the label files beside images of ``ending``."""
    return ".png" if ending in (".jpg", ".jpeg") else ending


def edit_json(path, **changes):
    """Change entries of a JSON file; None removes one."""
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
