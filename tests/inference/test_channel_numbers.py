"""Numbers at the ends of file names: channels for a model that has them, scans' own for one that has not; nothing is lost either way."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.train import train
from fewmask.errors import DataError, FewmaskWarning, WriteError
from fewmask.inference.inputs import find_scans
from fewmask.inference.predictor import Predictor
from helpers import blobs, write_dataset
from toys import small_experiment


def touched(folder, names, kind):
    for name in names:
        if kind == "empty":
            (folder / name).touch()
        elif name.endswith(".png"):
            Image.new("RGB" if kind == "rgb" else "L", (5, 4)).save(folder / name)
        else:
            shape = (4, 3, 2, 2) if kind == "both" else (4, 3, 2)
            nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)), folder / name)


@pytest.mark.parametrize(
    ("names", "channels", "kind", "scans"),
    [
        ("case_0000.nii.gz other_0000.nii.gz", 1, "empty", {"case": 1, "other": 1}),
        ("case_0000.nii.gz", 1, "empty", {"case": 1}),
        ("scan_0001.nii.gz scan_0002.nii.gz", 1, "empty", {"scan_0001": 1, "scan_0002": 1}),
        ("scan_0001.nii.gz", 1, "empty", {"scan_0001": 1}),
        ("scan_0001_0000.nii.gz scan_0002_0000.nii.gz", 1, "empty", {"scan_0001": 1, "scan_0002": 1}),
        ("case_0000.nii.gz scan_0001.nii.gz", 1, "empty", {"case": 1, "scan_0001": 1}),
        ("a_0007.png b_0007.png", 1, "empty", {"a_0007": 1, "b_0007": 1}),
        ("a_0000.nii.gz a_0001.nii.gz", 2, "empty", {"a": 2}),
        ("a_0000.nii.gz b.nii.gz", 2, "empty", {"a": 1, "b": 1}),
        ("a_0000_0000.nii.gz a_0000_0001.nii.gz a_0001_0000.nii.gz a_0001_0001.nii.gz", 2, "empty", {"a_0000": 2, "a_0001": 2}),
        ("scan_0005.nii.gz scan_0006.nii.gz", 2, "both", {"scan_0005": 1, "scan_0006": 1}),
        ("photo_0001.png photo_0002.png", 3, "rgb", {"photo_0001": 1, "photo_0002": 1}),
        ("photo_0001.png", 3, "rgb", {"photo_0001": 1}),
        ("grey_0000.png grey_0001.png grey_0002.png", 3, "grey", {"grey": 3}),
    ],
)  # fmt: skip
def test_scans_of_a_folder(tmp_path, names, channels, kind, scans):
    touched(tmp_path, names.split(), kind)
    found = find_scans(tmp_path, channels)
    assert {scan.name: len(scan.files) for scan in found} == scans
    assert sorted(path.name for scan in found for path in scan.files) == sorted(names.split())
    assert len({scan.output_name for scan in found}) == len(found)


@pytest.mark.parametrize(
    ("names", "channels", "kind"),
    [
        ("scan_0000.nii.gz scan_0001.nii.gz", 1, "empty"),
        ("scan_0000.nii.gz scan_0001.nii.gz scan_0002.nii.gz", 1, "empty"),
        ("photo_0000.png photo_0001.png photo_0002.png", 3, "rgb"),
        ("photo_0000.png photo_0001.png", 3, "rgb"),
    ],
)
def test_counted_from_zero_is_said(tmp_path, names, channels, kind):
    touched(tmp_path, names.split(), kind)
    with pytest.warns(FewmaskWarning, match=rf"are taken for {len(names.split())} scans, not for channels of one"):
        found = find_scans(tmp_path, channels)
    assert [scan.output_name for scan in found] == names.split()


@pytest.mark.parametrize(
    ("names", "channels", "text"),
    [
        ("a_0000.nii.gz a_0001.nii.gz b_0000.nii.gz", 1, "a scan that is called a_0001 to a_0001_0000"),
        ("a.nii.gz a_0000.nii.gz", 1, "are no channels 0 to 1 of one scan"),
        ("a_0000.nii.gz a_0001.nii.gz a_0002.nii.gz", 2, "and the model has 2 channels"),
        ("a_0000.nii.gz a_0002.nii.gz", 2, "are no channels 0 to 1"),
        ("a_0001.nii.gz a.jpg a.png", 1, "same name as that of a.jpg"),
        ("a.nii.gz a.NII.GZ", 1, "same name as that of a.NII.GZ"),
    ],
)
def test_what_could_be_either_is_refused(tmp_path, names, channels, text):
    touched(tmp_path, names.split(), "empty")
    with pytest.raises(DataError) as caught:
        find_scans(tmp_path, channels)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "output"), [("case_0000.nii.gz", "case.nii.gz"), ("scan_0003.nii.gz", "scan_0003.nii.gz")]
)
def test_a_file_alone(tmp_path, name, output):
    touched(tmp_path, [name, "z_0001.nii.gz"], "empty")
    (scan,) = find_scans(tmp_path / name, channels=1)
    assert scan.output_name == output


def test_segmentations_beside_their_scans_are_no_scans(tmp_path):
    touched(tmp_path, ["a.nrrd", "a.seg.nrrd", "b_0000.nrrd", "b.seg.nrrd"], "empty")
    with pytest.warns(
        FewmaskWarning, match=r"2 segmentations beside their scans, a\.seg\.nrrd among them, are not predicted"
    ):
        assert [scan.name for scan in find_scans(tmp_path, 1)] == ["a", "b"]
    for scan in ("a.nrrd", "b_0000.nrrd"):
        (tmp_path / scan).unlink()
    assert [scan.name for scan in find_scans(tmp_path, 1)] == ["a.seg", "b.seg"], "alone they are scans of odd names"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers")
    data = Dataset.open(write_dataset(folder / "Dataset001_Blobs", cases=2, dims=2))
    run = train(small_experiment(), data, Split(labelled=("case_000", "case_001")), folder / "run")
    return Predictor.from_run(run.path, device="cpu")


def pictures(folder, *names, seed=0):
    """Grey pictures, each another one."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(blobs((40, 36), seed=seed + number)[0][0].astype(np.uint8)).save(folder / name)
    return folder


def test_every_scan_has_its_own_map(predictor, tmp_path):
    source = pictures(tmp_path / "in", *(f"scan_{n:04d}.png" for n in range(1, 6)))
    paths = predictor.predict_files(source, tmp_path / "out", probabilities=True, uncertainty=True)
    assert [path.name for path in paths] == [f"scan_{n:04d}.png" for n in range(1, 6)]
    for path in paths:
        labels = predictor.segment(find_scans(source / path.name, 1)[0].read(["x"]))
        np.testing.assert_array_equal(np.asarray(Image.open(path)), labels)
    assert len(list((tmp_path / "out").rglob("*.*"))) == 5 * (1 + 2 + 1)


@pytest.mark.parametrize(
    ("names", "options", "text"),
    [
        (
            ["a.png", "a.tif"],
            {"uncertainty": True},
            "a.tif: its map uncertainty/a.tif would have the same name as one of a.png",
        ),
        (["a.png", "a.bmp"], {"uncertainty": True}, "would have the same name as one of a.bmp"),
        (["a.png", "a_class 1.png"], {"probabilities": True}, None),
    ],
)
def test_maps_of_two_scans_never_share_a_file(predictor, tmp_path, names, options, text):
    source = pictures(tmp_path / "in", *names)
    assert len(predictor.predict_files(source, tmp_path / "labels alone")) == 2
    if text is None:
        predictor.predict_files(source, tmp_path / "out", **options)
        assert len(list((tmp_path / "out/probabilities").iterdir())) == 4
        return
    with pytest.raises(DataError) as caught:
        predictor.predict_files(source, tmp_path / "out", **options)
    assert text in str(caught.value) and not (tmp_path / "out").exists()


def test_classes_that_read_like_other_scans(predictor, tmp_path, monkeypatch):
    """The map of class `1_0` of scan `a` and of class `0` of scan `a_1`."""
    import dataclasses

    source = pictures(tmp_path / "in", "a.png", "a_1.png")
    monkeypatch.setattr(predictor, "task", dataclasses.replace(predictor.task, class_names=("0", "1_0")))
    with pytest.raises(
        DataError, match=r"a_1\.png: its map probabilities/a_1_0\.tif would have the same name as one of a\.png"
    ):
        predictor.predict_files(source, tmp_path / "out", probabilities=True)


def test_what_an_earlier_call_wrote_stays(predictor, tmp_path):
    source, out = pictures(tmp_path / "in", "b.png", "c.png"), tmp_path / "out"
    predictor.predict_files(source, out, uncertainty=True)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*.*")}
    predictor.predict_files(source, out, uncertainty=True)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*.*")} == before
    pictures(source, "a.png", "d.png", seed=3)
    pictures(source, "c.png", seed=7)
    with pytest.raises(WriteError, match=r"c\.png: is there already with other contents; add --overwrite"):
        predictor.predict_files(source, out, uncertainty=True)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*.*")} == before, (
        "nor is a new one begun"
    )
    assert not [path for path in out.rglob(".*") if path.is_file()]
    predictor.predict_files(source, out, uncertainty=True, overwrite=True)
    assert len(list(out.rglob("*.*"))) == 8 and (out / "c.png").read_bytes() != before[out / "c.png"][0]


def test_of_one_scan_nothing_new_is_written_beside_what_stays(predictor, tmp_path):
    source, out = pictures(tmp_path / "in", "a.png"), tmp_path / "out"
    predictor.predict_files(source, out)
    pictures(source, "a.png", seed=9)
    with pytest.raises(WriteError):
        predictor.predict_files(source, out, uncertainty=True)
    assert [path.name for path in out.rglob("*.*")] == ["a.png"]
