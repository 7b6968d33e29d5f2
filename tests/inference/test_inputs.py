import numpy as np
import pytest

from fewmask.errors import DataError
from fewmask.inference.inputs import find_scans
from helpers import blobs, write_dataset, write_scan


@pytest.fixture
def folder(tmp_path):
    image, _ = blobs((8, 7, 6), channels=2)
    write_scan(tmp_path, "b", image, ".nii.gz")
    write_scan(tmp_path, "a_1", image, ".nii.gz")
    (tmp_path / "plain.nii").write_bytes(b"")
    (tmp_path / ".hidden_0000.nii.gz").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"")
    (tmp_path / "deeper").mkdir()
    return tmp_path


def test_folder_groups_channels_and_passes_over_what_is_no_image(folder):
    scans = find_scans(folder, channels=2)
    assert [(scan.name, len(scan.files)) for scan in scans] == [("a_1", 2), ("b", 2), ("plain", 1)]
    assert [path.name for path in scans[0].files] == ["a_1_0000.nii.gz", "a_1_0001.nii.gz"]


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("case_0000.nii.gz", "case.nii.gz"),
        ("case.nii", "case.nii"),
        ("a.b_0000.mha", "a.b.mha"),
        ("year_2020_0000.png", "year_2020.png"),
        ("photo.JPG", "photo.png"),
        ("scan_00001.tif", "scan_00001.tif"),
    ],
)
def test_output_name(tmp_path, name, output):
    (tmp_path / name).write_bytes(b"")
    for source in (tmp_path / name, tmp_path):
        assert [scan.output_name for scan in find_scans(source, channels=1)] == [output]


def test_file_brings_its_sister_channels(folder):
    (scan,) = find_scans(folder / "b_0001.nii.gz", channels=2)
    assert [path.name for path in scan.files] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    image = scan.read(["T1", "T2"])
    assert image.data.shape == (2, 8, 7, 6) and image.data.dtype == np.float32
    (alone,) = find_scans(folder / "b_0001.nii.gz", channels=1)
    assert [path.name for path in alone.files] == ["b_0001.nii.gz"]


def test_wrong_number_of_channels_names_the_file(folder):
    (scan,) = find_scans(folder / "b_0000.nii.gz", channels=1)
    with pytest.raises(DataError, match=r"b_0000.nii.gz: has 1 channel, but .* 2 \(T1, T2\)"):
        scan.read(["T1", "T2"])


def test_channels_on_two_grids_name_the_file(tmp_path):
    write_scan(tmp_path, "x", blobs((8, 7, 6))[0], ".nii.gz")
    write_scan(tmp_path / "other", "x", blobs((8, 7, 6))[0], ".nii.gz", np.diag([2.0, 1, 1, 1]))
    (tmp_path / "other/x_0000.nii.gz").rename(tmp_path / "x_0001.nii.gz")
    (scan,) = find_scans(tmp_path, channels=2)
    with pytest.raises(DataError, match=r"x_0001\.nii\.gz: lies on another grid than x_0000\.nii\.gz"):
        scan.read(["a", "b"])


def test_nothing_to_predict(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(DataError, match="holds no image"):
        find_scans(tmp_path, 1)
    with pytest.raises(DataError, match="does not exist"):
        find_scans(tmp_path / "absent", 1)
    with pytest.raises(DataError, match="not in a supported format"):
        find_scans(tmp_path / "notes.txt", 1)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a_0001.nii.gz", "a_0002.nii.gz"], "are no channels 0 to 1"),
        (["a.nii.gz", "a_0000.nii.gz"], "are no channels 0 to 1"),
        (["a.jpg", "a.png"], "same name as that of a.jpg"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=message):
        find_scans(tmp_path, 2)


def test_same_name_in_two_formats_is_two_scans(tmp_path):
    for name in ("a.nii.gz", "a.nrrd"):
        (tmp_path / name).touch()
    assert [scan.output_name for scan in find_scans(tmp_path, 1)] == ["a.nii.gz", "a.nrrd"]


def test_a_dataset_folder_gives_all_of_its_scans(tmp_path):
    root = write_dataset(tmp_path / "data", cases=2, unlabelled=1, test=1, dims=2)
    scans = find_scans(root, channels=1)
    assert [scan.name for scan in scans] == ["case_000", "case_001", "extra_000", "test_000"]
    assert [scan.files[0].parent.name for scan in scans] == ["imagesTr", "imagesTr", "imagesUn", "imagesTs"]
