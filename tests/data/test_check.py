"""The check finds each planted fault, says where it is, and finds nothing in a sound folder."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image as Picture
from rich.console import Console

from fewmask.data.check import check_dataset, inspect_case
from fewmask.data.check.thumbnails import draw_case, write_thumbnails
from fewmask.data.dataset import Dataset
from fewmask.data.image import Geometry, read_image, read_label, write_image
from fewmask.errors import DataError
from helpers import SHARED, blobs, edit_json, write_dataset, write_scan

SHAPE, AFFINE = (20, 18, 14), np.diag([1.0, 1.0, 1.5, 1.0])


def found(root, **options):
    """Findings as (severity, file name, message)."""
    return [(f.severity, f.path.name, f.message) for f in check_dataset(root, **options).findings]


def only(root):
    """The single finding of a folder."""
    findings = found(root)
    assert len(findings) == 1, findings
    return findings[0]


@pytest.mark.parametrize(("dims", "channels"), [(3, 1), (3, 2), (2, 3)])
def test_a_sound_folder_has_no_findings(tmp_path, dims, channels):
    calls = []
    root = write_dataset(tmp_path, 3, dims, channels, classes=3, test=1, unlabelled=1)
    report = check_dataset(root, workers=2, progress=lambda done, total: calls.append((done, total)))
    assert report.ok and report.findings == [] and calls == [(n, 5) for n in range(1, 6)]
    assert report.summary["cases"] == {"train": 3, "unlabelled": 1, "test": 1} and report.summary["labelled"] == 4


def test_rows_hold_what_numpy_says(tmp_path):
    data = Dataset.open(write_dataset(tmp_path, 1, classes=3, channels=2))
    image, label = data.read("case_000").data.astype(np.float64), data.read_label("case_000").data
    row = check_dataset(data).rows[0]
    assert (row.case, row.group, row.shape, row.channels) == ("case_000", "train", SHAPE, 2)
    assert row.spacing == pytest.approx((1, 1, 1.5)) and row.volumes == tuple((label == c).sum() for c in range(3))
    assert row.intensity == pytest.approx((image.min(), image.mean(), image.max()))


def nan(root):
    image = blobs(SHAPE, seed=1)[0]
    image[0, 3, 3, :4] = np.nan
    write_scan(root / "imagesTr", "case_000", image, ".nii.gz", AFFINE)


def truncated(root):
    path = root / "imagesTr" / "case_000_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:3000])


def moved(root):
    label = read_label(root / "labelsTr" / "case_000.nii.gz")
    shifted = AFFINE.copy()
    shifted[0, 3] = 4
    write_image(label.path, label.data, Geometry(SHAPE, shifted))


def smaller(root):
    write_image(root / "labelsTr" / "case_000.nii.gz", np.ones((20, 18, 13), np.uint8), Geometry((20, 18, 13), AFFINE))


def strange(root):
    write_image(
        root / "labelsTr" / "case_000.nii.gz", np.eye(20, 18)[..., None] * np.full(14, 255), Geometry(SHAPE, AFFINE)
    )


def empty(root):
    write_image(root / "labelsTr" / "case_000.nii.gz", np.zeros(SHAPE, np.uint8), Geometry(SHAPE, AFFINE))


def constant(root):
    write_scan(root / "imagesTr", "case_000", np.full((1, *SHAPE), 7.0), ".nii.gz", AFFINE)


def twice(root):
    shutil.copy(root / "imagesTr" / "case_000_0000.nii.gz", root / "imagesUn" / "extra_000_0000.nii.gz")


def leaked(root):
    scan = read_image(root / "imagesTr" / "case_000_0000.nii.gz")
    write_image(root / "imagesTs" / "test_000_0000.nii.gz", scan.data[0], scan.geometry)


def coarse(root):
    wide = AFFINE.copy()
    wide[2, 2] = 5
    write_scan(root / "imagesUn", "extra_000", blobs(SHAPE, seed=50)[0], ".nii.gz", wide)


def orphan(root):
    (root / "imagesTr" / "case_000_0000.nii.gz").unlink()
    edit_json(root / "dataset.json", numTraining=2)


def foreign(root):
    (root / "imagesTr" / "readme.txt").touch()


def miscounted(root):
    edit_json(root / "dataset.json", numTraining=9)


def two_channels(root):
    affine = np.diag([1.0, 1.0, 1.5, 1.0])
    write_scan(root / "imagesTr", "case_000", blobs(SHAPE, channels=2, seed=60)[0], ".nii.gz", affine)


def unscored(root):
    (root / "labelsTs" / "test_000.nii.gz").unlink()


FAULTS = {
    nan: ("error", "case_000_0000.nii.gz", "has 4 voxels that are NaN"),
    truncated: ("error", "case_000_0000.nii.gz", "is truncated"),
    moved: ("error", "case_000.nii.gz", "up to 4 mm apart"),
    smaller: ("error", "case_000.nii.gz", "20 x 18 x 13 voxels"),
    strange: ("error", "case_000.nii.gz", "holds the values 255, which are not in dataset.json"),
    empty: ("warning", "case_000.nii.gz", "is empty"),
    constant: ("warning", "case_000_0000.nii.gz", "is constant (7)"),
    twice: ("warning", "extra_000_0000.nii.gz", "is the same scan as imagesTr/case_000_0000.nii.gz"),
    leaked: ("error", "test_000_0000.nii.gz", "leakage"),
    coarse: ("warning", "extra_000_0000.nii.gz", "1 x 1 x 5 mm, far from the median of 1 x 1 x 1.5"),
    orphan: ("error", "case_000.nii.gz", "scan is missing from imagesTr"),
    foreign: ("note", "readme.txt", "is left out"),
    miscounted: ("note", "dataset.json", "numTraining 9, but 3"),
    two_channels: (
        "error",
        "case_000_0000.nii.gz",
        "has the channel files _0000, _0001, but dataset.json asks for _0000",
    ),
    unscored: ("note", "imagesTs", "1 of 1 test scans have no label"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_found_alone(tmp_path, fault):
    root = write_dataset(tmp_path, 3, test=1, unlabelled=1)
    fault(root)
    severity, name, message = only(root)
    assert (severity, name) == FAULTS[fault][:2] and FAULTS[fault][2] in message


def test_all_faults_are_found_at_once(tmp_path):
    root = write_dataset(tmp_path, 3, test=2, unlabelled=1)
    for fault in (nan, empty, coarse, foreign, miscounted):
        fault(root)
    shutil.copy(root / "imagesTr" / "case_001_0000.nii.gz", root / "imagesTs" / "case_001_0000.nii.gz")
    report = check_dataset(root)
    assert [f.severity for f in report.findings] == ["error", "error", "warning", "warning", "note", "note"]
    assert not report.ok and any("same case id" in f.message for f in report.findings)


def test_channels_on_differing_grids_and_rgb_among_grey(tmp_path):
    root = write_dataset(tmp_path / "a", 2, channels=2)
    write_scan(root / "imagesTr", "case_000", np.random.default_rng(0).normal(size=(1, 9, 9, 9)), ".nii.gz", AFFINE)
    assert ("error", "case_000_0001.nii.gz") in [entry[:2] for entry in found(root)]
    root = write_dataset(tmp_path / "b", 2, dims=2, channels=3)
    Picture.fromarray(np.arange(1440, dtype=np.uint8).reshape(40, 36)).save(root / "imagesTr" / "case_001_0000.png")
    assert "has 1 channels, but dataset.json names 3" in only(root)[2]


def test_2d_among_3d_and_a_class_without_voxels(tmp_path):
    root = write_dataset(tmp_path, 3, unlabelled=1, labels={"background": 0, "class 1": 1, "rare": 2})
    write_scan(root / "imagesUn", "extra_000", blobs((20, 18), seed=70)[0], ".nii.gz")
    messages = [entry[2] for entry in found(root)]
    assert "has one slice, where other scans have several; it is taken as a volume of one slice" in messages
    assert any("class 'rare' (2), but no label contains it" in message for message in messages)


def test_exif_orientation_is_told(tmp_path):
    root = write_dataset(tmp_path, 2, dims=2, channels=3, ending=".jpg")
    path, exif = root / "imagesTr" / "case_000_0000.jpg", Picture.Exif()
    exif[0x0112] = 6
    Picture.open(path).save(path, exif=exif)
    assert "EXIF orientation 6" in only(root)[2]


def test_labels_of_unlabelled_scans_are_never_opened(tmp_path, monkeypatch):
    root = write_dataset(tmp_path, 2, unlabelled=1)
    (root / "labelsUn").mkdir()
    (root / "labelsUn" / "extra_000.nii.gz").write_bytes(b"must not be read")
    opened = []
    monkeypatch.setattr(inspect_case, "read_label", lambda path, **how: opened.append(path) or read_label(path, **how))
    assert found(root) == [] and {path.parent.name for path in opened} == {"labelsTr"} and len(opened) == 2


def test_the_report_is_json_and_fits_a_terminal(tmp_path):
    root = write_dataset(tmp_path, 3, test=1, unlabelled=1)
    nan(root)
    report = check_dataset(root)
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values["findings"][0]["path"] == "imagesTr/case_000_0000.nii.gz" and len(values["cases"]) == 5
    assert values["summary"]["spacing"]["median"] == pytest.approx([1, 1, 1.5])
    console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
    for table in report.tables():
        console.print(table)
    text = console.export_text()
    assert "3 train, 1 unlabelled, 1 test" in text and "1 error, 0 warnings" in text and "NaN or infinite" in text


def test_a_thumbnail_shows_front_up_and_right_on_the_left(tmp_path):
    """A bright corner at the patient's right front, whatever the axes on disk, is at the picture's top left."""
    root = write_dataset(tmp_path, 1, shape=(20, 30, 8))
    image, label = np.zeros((20, 30, 8), np.float32), np.zeros((20, 30, 8), np.uint8)
    image[14:, 22:, 5], label[14:, 22:, 5] = 100, 1  # RAS: large x is right, large y is front
    pictures = []
    for flips, order in (((1, 1, 1), (0, 1, 2)), ((-1, 1, -1), (2, 0, 1))):
        affine = (np.diag([*flips, 1.0]))[:, [*order, 3]]
        turned, mask = (array[:: flips[0], :: flips[1], :: flips[2]].transpose(order) for array in (image, label))
        write_scan(root / "imagesTr", "case_000", turned[None], ".nii.gz", affine)
        write_image(root / "labelsTr" / "case_000.nii.gz", mask, Geometry(mask.shape, affine))
        pictures.append(np.asarray(draw_case(Dataset.open(root).case("case_000"), 120)))
    assert pictures[0].shape == (120, 80, 3) and np.array_equal(*pictures)
    assert pictures[0][5:15, 5:15].min() > 200 and pictures[0][60:].max() < 20
    assert (0, 225, 255) in {tuple(pixel) for pixel in pictures[0].reshape(-1, 3).tolist()}


def test_thumbnails_keep_proportions_and_skip_the_unreadable(tmp_path):
    root = write_dataset(tmp_path / "data", 3, shape=(20, 20, 8), spacing=(1.0, 3.0, 1.0), unlabelled=1)
    truncated(root)
    index = write_thumbnails(check_dataset(root), tmp_path / "pictures")
    names = {path.name for path in index.parent.iterdir()}
    assert names == {"index.png", "case_001.png", "case_002.png", "extra_000.png"}
    assert draw_case(Dataset.open(root).case("case_001"), 90).size == (30, 90)
    with pytest.raises(DataError, match="no scan can be read"):
        for path in root.glob("images*/*"):
            path.write_bytes(b"")
        write_thumbnails(root, tmp_path / "none")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public data sets are not on this machine")
def test_real_data_is_sound():
    report = check_dataset(SHARED / "Dataset002_PH2")
    assert report.ok and report.summary["labelled"] == 170
