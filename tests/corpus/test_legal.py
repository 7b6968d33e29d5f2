"""What looks odd and is legal: it must work, and give the right values."""

import json

import nibabel
import numpy as np
from PIL import Image

from corpus.faults import AFFINE, SHAPE, at, both, entries, gone, link_to, nifti, noise, picture, tiff, written
from corpus.harness import TRAIN, Case, call, each, findings_of
from fewmask.data.dataset import Dataset
from fewmask.data.image import read_geometry, read_image, read_label
from helpers import write_dataset
from program import tiny

GREY = noise((40, 36), np.uint8)
DEEP = (noise((40, 36), np.uint16) * 600).astype(np.uint16)
COLOUR = noise((40, 36, 3), np.uint8)
OPAQUE = np.dstack([COLOUR, np.full((40, 36), 255, np.uint8)])
VOLUME = noise(dtype=np.int16)
SCAN, LABEL = "heart/imagesTr/case_001_0000.nii.gz", "heart/labelsTr/case_001.nii.gz"


def test_pixels_are_read_as_they_are(tmp_path):
    for name, fault, true in (
        ("16 bits.png", picture(DEEP), DEEP[None]),
        ("1 bit.png", picture(GREY > 50), (GREY > 50)[None]),
        ("opaque.png", picture(OPAQUE), COLOUR.transpose(2, 0, 1)),
        ("palette.png", picture(COLOUR, "P", palette=Image.Palette.ADAPTIVE, colors=256), None),
        ("a JPEG called.png", picture(COLOUR, format="JPEG"), None),
        ("32 bits.tif", tiff(noise((40, 36))), noise((40, 36))[None]),
        ("big.tif", tiff(GREY, bigtiff=True), GREY[None]),
        ("big endian.tif", tiff(DEEP, byteorder=">"), DEEP[None]),
        ("cmyk.jpg", picture(COLOUR, "CMYK"), None),
    ):
        fault(tmp_path / name)
        values = read_image(tmp_path / name).data
        colours = np.asarray(Image.open(tmp_path / name).convert("RGB")).transpose(2, 0, 1) if true is None else true
        np.testing.assert_array_equal(values, colours, err_msg=name)
        assert read_geometry(tmp_path / name).shape == (40, 36), name


def test_a_palette_label_is_its_indices_and_a_grey_rgb_label_its_grey(tmp_path):
    classes = (GREY > 50).astype(np.uint8) + (GREY > 80)
    indexed = Image.fromarray(classes, "P")
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    indexed.save(tmp_path / "palette.png")
    picture(np.repeat(classes[..., None], 3, axis=2))(tmp_path / "rgb.png")
    for name in ("palette.png", "rgb.png"):
        np.testing.assert_array_equal(read_label(tmp_path / name).data, classes)


def test_volumes_are_read_as_they_are(tmp_path):
    big = nibabel.Nifti1Image(VOLUME, AFFINE, nibabel.Nifti1Header(endianness=">"))
    big.to_filename(tmp_path / "big endian.nii")
    for name, fault, affine in (
        ("no codes.nii.gz", nifti(VOLUME, sform_code=0, qform_code=0), None),
        ("NIfTI-2.nii.gz", nifti(VOLUME, kind=nibabel.Nifti2Image), AFFINE),
        ("no magic slope.nii", nifti(VOLUME, scl_slope=np.nan, scl_inter=np.nan), AFFINE),
        ("UPPER.NII.GZ", nifti(VOLUME), AFFINE),
        ("one more axis.nii", nifti(VOLUME[..., None]), AFFINE),
        ("64 bits.nii", nifti(VOLUME.astype(np.int64)), AFFINE),
        ("big endian.nii", lambda path: None, AFFINE),
    ):
        fault(tmp_path / name)
        scan = read_image(tmp_path / name)
        np.testing.assert_array_equal(scan.data[0], VOLUME, err_msg=name)
        assert scan.geometry.spacing == (1, 1, 1.5), name
        if affine is not None:
            np.testing.assert_array_equal(scan.geometry.affine, affine, err_msg=name)


# fmt: off
WORKS = [
    Case("a byte order mark", lambda p: _prefix(p / "heart/dataset.json", b"\xef\xbb\xbf"), "check heart", "", ""),
    Case("Windows line ends", lambda p: _replace(p / "heart/dataset.json", b", ", b",\r\n"), "check heart", "", ""),
    Case("nnU-Net 1 labels", at("heart/dataset.json", entries(labels={"0": "background", "1": "atrium"})), "check heart", "", ""),
    Case("a class that no label holds", at("heart/dataset.json", entries(labels={"background": 0, "class 1": 1, "rare": 2})), "check heart", "", ""),
    Case("a label of another type", lambda p: nifti(read_label(p / LABEL).data.astype(np.float64))(p / LABEL), "check heart", "", ""),
    Case("a mask that is empty", at(LABEL, nifti(np.zeros(SHAPE, np.uint8))), "check heart", "", ""),
    Case("a constant scan", at(SCAN, nifti(np.ones(SHAPE, np.float32))), TRAIN, "", ""),
    Case("links to scans", lambda p: _linked(p / SCAN), "check heart", "", ""),
    Case("a loop beside the scans", at("heart/imagesTr/loop", link_to("../imagesTr")), "check heart", "", ""),
    Case("folders beside the scans", lambda p: (p / "heart/imagesTr/more").mkdir(), TRAIN, "", ""),
    Case("a recipe of Windows", at("my.yaml", written(b"\xef\xbb\xbftrain:\r\n  iterations: 1\r\n")), "train heart --output new --recipe my.yaml",
        "", ""),
    Case("an empty recipe", at("my.yaml", written("")), f"{TRAIN} --recipe my.yaml", "", ""),
    Case("a patch larger than the scans", lambda p: None, f"{TRAIN} --set sampling.patch_size=[32,32,32]", "", ""),
    Case("a run without metrics.csv", at("runs/heart/metrics.csv", gone), "report runs/heart", "", ""),
    Case("an empty metrics.csv", at("runs/heart/metrics.csv", written("")), "report runs/heart", "", ""),
    Case("a run without scores", both(at("runs/heart/predictions/scores.csv", gone), at("runs/heart/predictions/summary.json", gone)),
        "report runs/heart", "", ""),
    Case("other files among predictions", at("runs/heart/predictions/notes.txt", written("")), "evaluate runs/heart/predictions heart/labelsTs", "",
        ""),
]
# fmt: on


def _prefix(path, content):
    path.write_bytes(content + path.read_bytes())


def _replace(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))


def _linked(path):
    path.rename(path.parents[2] / "elsewhere.nii.gz")
    path.symlink_to("../../elsewhere.nii.gz")


@each(WORKS)
def test_works(case, works):
    works(case)


# fmt: off
NAMES = [
    "with space",
    "-leading-dash",
    "--help",
    "ümläut",
    "心臓",
    "a.b.c",
    "[red]",
    "it's",
    "UPPER",
    "$HOME",
    "percent%04d",
]
# fmt: on


def test_any_name_goes_all_the_way(tmp_path):
    """Scans, data set and run of odd names: checked, split, trained, predicted and scored by what each verb says to type next."""
    root = write_dataset(tmp_path / "-my data ü", cases=0, dims=2)
    source = write_dataset(tmp_path / "source", cases=len(NAMES), dims=2)
    for number, name in enumerate(NAMES):
        for part, tail in (("imagesTr", "_0000.png"), ("labelsTr", ".png")):
            (root / part).mkdir(exist_ok=True)
            (source / part / f"case_{number:03d}{tail}").rename(root / part / f"{name}{tail}")
    for part in ("images", "labels"):
        (root / f"{part}Ts").mkdir()
        tail = "_0000.png" if part == "images" else ".png"
        (root / f"{part}Tr" / f"-leading-dash{tail}").rename(root / f"{part}Ts" / f"-leading-dash{tail}")
    words, verbs = ["check", "--", "-my data ü"], []
    while words[0] != "report":
        if words[0] == "train":
            words[1:1] = ["--set", "train.iterations=2", *tiny(2)[2:]]
        outcome = call(tmp_path, *words)
        assert outcome.code == 0 and "error" not in outcome.err, (words, outcome)
        verbs.append(words[0])
        words = outcome.next
    assert verbs == ["check", "split", "train", "predict", "evaluate"] and call(tmp_path, *words).code == 0
    assert set(json.loads((root / "splits.json").read_text(encoding="utf-8"))["splits"]) and len(
        Dataset.open(root)
    ) == len(NAMES)


def test_one_voxel_images_pass_the_check(tmp_path):
    root = write_dataset(tmp_path, cases=2, dims=2)
    for number, path in enumerate(sorted(root.glob("images*/*.png"))):
        picture(np.uint8([[number]]))(path)
    for path in root.glob("labels*/*.png"):
        picture(np.uint8([[1]]))(path)
    outcome = call(tmp_path, "check", ".", "--json")
    assert outcome.code == 0 and {finding["message"].split(" (")[0] for finding in findings_of(outcome)} == {
        "is constant",
        "names the class 'background'",
    }
