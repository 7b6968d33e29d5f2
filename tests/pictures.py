"""Tiny synthetic copies of the layouts in which 2D data sets are downloaded: same names, formats and quirks."""

from __future__ import annotations

import numpy as np
from PIL import Image

from helpers import blobs


def frame(number=0, shape=(24, 30), channels=3):
    """A picture ``(rows, columns, channels)`` uint8, or ``(rows, columns)``, and its mask, bool."""
    image, label = blobs(shape, channels=channels, seed=number)
    pixels = image.astype(np.uint8).transpose(1, 2, 0)
    return (pixels if channels > 1 else pixels[..., 0]), label > 0


def save(path, array, **options):
    """Write a picture; the ending chooses the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def white(mask):
    """A mask as 0 and 255."""
    return mask.astype(np.uint8) * 255


def write_glas(root, names=("train_1", "train_2", "train_10", "testA_1", "testB_2")):
    """BMP images, masks whose values number the glands, and the contest's table with blanks behind its commas."""
    home = root / "Warwick QU Dataset (Released 2016_07_08)"
    lines = ["name, patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"]
    for number, name in enumerate(names):
        image, mask = frame(number)
        glands = mask.astype(np.uint8)
        glands[:4, :4] = 7 + number
        save(home / f"{name}.bmp", image)
        save(home / f"{name}_anno.bmp", glands)
        lines.append(f"{name}, {number % 4 + 1}, benign, adenomatous")
    (home / "Grade.csv").write_text("\n".join(lines) + "\n")
    return root


def write_ph2(root, cases=5):
    """Folders named by case; masks of one bit; masks of colours that nobody reads."""
    for number in range(2, cases + 2):
        name = f"IMD{number:03d}"
        home = root / "PH2Dataset/PH2 Dataset images" / name
        image, mask = frame(number)
        save(home / f"{name}_Dermoscopic_Image/{name}.bmp", image)
        save(home / f"{name}_lesion/{name}_lesion.bmp", mask)
        save(home / f"{name}_roi/{name}_R1_Label4.bmp", mask)
    (root / "PH2Dataset/PH2_dataset.txt").write_text("|| Name ||\n")
    return root


def write_isic(root, train=3, test=2):
    """JPEG images and PNG masks in four folders, with the files that the archives carry beside them."""
    for part, numbers in (
        ("Training", range(train)),
        ("Test", range(100, 100 + test)),
        ("Validation", range(200, 202)),
    ):
        images, masks = root / f"ISIC2018_Task1-2_{part}_Input", root / f"ISIC2018_Task1_{part}_GroundTruth"
        for number in numbers:
            image, mask = frame(number)
            save(images / f"ISIC_{number:07d}.jpg", image, quality=95)
            save(masks / f"ISIC_{number:07d}_segmentation.png", white(mask))
        (images / "ATTRIBUTION.txt").write_text("by\n")
        (images / "LICENSE.txt").write_text("licence\n")
    return root


def write_busi(root, benign=(1, 3, 4, 100), malignant=(1, 201), normal=(1,)):
    """Blanks and brackets in names; masks as grey, one bit and RGBA; a second lesion; grey images among RGB ones."""
    home = root / "Dataset_BUSI_with_GT"
    for kind, numbers in (("benign", benign), ("malignant", malignant), ("normal", normal)):
        for number in numbers:
            image, mask = frame(number, channels=1 if number == 3 else 3)
            save(home / kind / f"{kind} ({number}).png", image)
            empty = mask & (kind != "normal")
            stored = {1: white(empty), 3: empty}.get(number)
            if stored is None:
                stored = np.dstack([white(empty)] * 3 + [np.full_like(white(empty), 255)])
            save(home / kind / f"{kind} ({number})_mask.png", stored)
    image, mask = frame(100)
    second = np.zeros_like(mask)
    second[:3, :3] = True
    save(home / "benign/benign (100)_mask_1.png", white(second))
    return root


def write_hmeps(root, subjects=("1", "3", "6", "1")):
    """JPEG frames, masks with the pupil in red and reflections in green, a closed eye, and the table of subjects."""
    home = root / "NN_human_mouse_eyes"
    lines = ["filename,eye,blink,exp,sub,roi_x,roi_y,roi_w"]
    for number, subject in enumerate(subjects):
        image, mask = frame(number, channels=1)
        pupil = mask & (number != 3)
        save(home / f"fullFrames/y-00B-{number}-0.jpg", image, quality=95)
        red = np.dstack([white(pupil), white(~pupil), np.zeros_like(white(pupil))])
        save(home / f"annotation/png/y-00B-{number}-0.png", red)
        lines.append(f"y-00B-{number}-0.jpg,True,{number == 3},exp,{subject},1,2,3")
    (home / "annotation/annotations.csv").write_text("\n".join(lines) + "\n")
    return root


KVASIR_TEST = "cju0u82z3cuma0835wlxrnrjv"  # PraNet tests on this frame
KVASIR = "cju0qkwl35piu0993l0dewei2"


def write_polyps(root):
    """PraNet's bundle: image and mask in one part, images and masks in the other; numbers are CVC-ClinicDB's; soft edges."""
    parts = {
        "TrainDataset": [("image", "mask", [KVASIR, "1", "2"])],
        "TestDataset/Kvasir": [("images", "masks", [KVASIR_TEST])],
        "TestDataset/CVC-ClinicDB": [("images", "masks", ["100"])],
        "TestDataset/CVC-300": [("images", "masks", ["149", "150"])],
        "TestDataset/ETIS-LaribPolypDB": [("images", "masks", ["1"])],
    }
    number = 0
    for folder, kinds in parts.items():
        for images, masks, names in kinds:
            for name in names:
                image, mask = frame(number)
                soft = white(mask)
                soft[0, 0], soft[0, 1] = 40, 200
                save(root / folder / images / f"{name}.png", image)
                save(root / folder / masks / f"{name}.png", np.dstack([soft] * 3) if number % 2 else soft)
                number += 1
    return root


def write_polyp_originals(root):
    """The owners' folders: JPEG images and masks of Kvasir-SEG, TIFF of CVC-ClinicDB."""
    for number, name in enumerate([KVASIR, KVASIR_TEST]):
        image, mask = frame(number)
        save(root / f"Kvasir-SEG/images/{name}.jpg", image, quality=95)
        save(root / f"Kvasir-SEG/masks/{name}.jpg", white(mask), quality=95)
    for number in (1, 100):
        image, mask = frame(number)
        save(root / f"CVC-ClinicDB/Original/{number}.tif", image)
        save(root / f"CVC-ClinicDB/Ground Truth/{number}.tif", white(mask))
    return root


REGIONS = {
    "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500": (40, 56),
    "TCGA-A2-A0T0-DX1_xmin1_ymin2_MPP-0.2500": (16, 24),
    "TCGA-AR-A1AQ-DX1_xmin3_ymin4_MPP-0.2500": (12, 33),
}


def write_bcss(root):
    """Regions of several sizes and masks of codes 0 to 21."""
    home = root / "0_Public-data-Amgad2019_0.25MPP"
    for number, (name, shape) in enumerate(REGIONS.items()):
        codes = np.random.default_rng(number).integers(0, 22, shape).astype(np.uint8)
        save(home / f"rgbs_colorNormalized/{name}.png", frame(number, shape)[0])
        save(home / f"masks/{name}.png", codes)
    (home / "meta").mkdir()
    (home / "meta/gtruth_codes.tsv").write_text("label\tGT_code\noutside_roi\t0\ntumor\t1\n")
    return root
