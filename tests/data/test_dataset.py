"""The dataset folder: what is listed, what is read, and what is said of a folder that is wrong."""

import json

import numpy as np
import pytest

from fewmask.data.dataset import Dataset
from fewmask.data.image import Geometry, write_image
from fewmask.data.split import Split
from fewmask.errors import DataError
from helpers import SHARED, edit_json, write_dataset, write_scan


@pytest.mark.parametrize(
    ("dims", "channels", "ending"),
    [
        (3, 1, ".nii.gz"),
        (3, 2, ".mha"),
        (2, 3, ".png"),
        (2, 1, ".png"),
        (2, 3, ".jpg"),
        (2, 2, ".tif"),
        (2, 1, ".nii.gz"),
    ],
)
def test_folders_of_every_kind(tmp_path, dims, channels, ending):
    root = write_dataset(tmp_path, 2, dims, channels, classes=3, ending=ending, test=1, unlabelled=2)
    data = Dataset.open(root)
    assert data.ids("train") == ["case_000", "case_001"] and data.ids("test") == ["test_000"]
    assert data.ids("unlabelled") == ["extra_000", "extra_001"] and data.ids("unlabelled", labelled=True) == []
    assert data.spatial_dims == dims and data.class_names == ("background", "class 1", "class 2") and not data.problems
    image, label = data.read("case_000"), data.read_label("case_000")
    assert image.data.shape == (channels, *label.data.shape) and image.data.ndim == dims + 1
    assert image.data[0][label.data == 2].mean() > image.data[0][label.data == 0].mean() + 60
    assert image.geometry.matches(label.geometry)
    with pytest.raises(DataError, match="has no label"):
        data.read_label("extra_000")


def test_channels_are_stacked_in_their_order(tmp_path):
    data = Dataset.open(write_dataset(tmp_path, 1, channels=3))
    write_scan(
        tmp_path / "imagesTr", "case_000", np.arange(3.0)[:, None, None, None] * np.ones((3, 20, 18, 14)), ".nii.gz"
    )
    assert data.read("case_000").data.mean(axis=(1, 2, 3)).tolist() == [0, 1, 2]


def test_ids_with_dots_spaces_and_unicode(tmp_path):
    write_dataset(tmp_path, 1)
    for name in ("a.b", "Müller 1", "患者", "x_0001"):
        write_scan(tmp_path / "imagesTr", name, np.zeros((1, 20, 18, 14)), ".nii.gz")
    assert Dataset.open(tmp_path).ids("unlabelled") == sorted(["a.b", "Müller 1", "患者", "x_0001"])


def test_names_are_listed_without_opening_a_file(tmp_path):
    write_dataset(tmp_path, 1)
    for number in range(3000):
        (tmp_path / "imagesTr" / f"many{number}_0000.nii.gz").touch()
    assert len(Dataset.open(tmp_path)) == 3001  # the empty files cannot be read


def test_odd_names_are_problems_and_not_errors(tmp_path):
    write_dataset(tmp_path, 2)
    (tmp_path / "imagesTr" / "notes.txt").touch()
    (tmp_path / "imagesTr" / ".DS_Store").touch()
    (tmp_path / "imagesTr" / "case_000_0003.nii.gz").touch()
    (tmp_path / "imagesTr" / "case_001_0000.nii.gz").unlink()
    problems = Dataset.open(tmp_path).problems
    assert {(p.severity, p.path.name) for p in problems} == {
        ("note", "notes.txt"), ("error", "case_000_0000.nii.gz"), ("error", "case_001.nii.gz")
    }  # fmt: skip


def test_one_id_in_two_folders(tmp_path):
    write_dataset(tmp_path, 1)
    write_scan(tmp_path / "imagesTs", "case_000", np.zeros((1, 20, 18, 14)), ".nii.gz")
    with pytest.raises(DataError, match=r"imagesTs.*same case id as imagesTr.*rename"):
        Dataset.open(tmp_path)
    assert [p.severity for p in Dataset.open(tmp_path, strict=False).problems] == ["error"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"background": 0, "a": 2}}, "without gaps"),
        ({"labels": {"background": 0, "a": [1, 2], "b": 2}}, "'a' is a region"),
        ({"labels": {"background": 0, "a": 1, "ignore": 2}}, '"ignore" label, which is not supported'),
        ({"labels": {"background": 0, "a": "1"}}, "whole numbers"),
        ({"labels": {"background": 0}}, "two or more"),
        ({"labels": None}, '"labels" must'),
        ({"channel_names": {"1": "T1"}}, "from 0"),
        ({"channel_names": None}, "from 0"),
        ({"file_ending": ".nii.gzz"}, "did you mean '.nii.gz'"),
        ({"file_ending": None}, '"file_ending" must'),
        ({"label_ending": ".jpg"}, "JPEG"),
        ({"patients": ["a"]}, '"patients" must'),
        ({"training_order": ["a", "a"]}, "different case ids"),
    ],
)
def test_wrong_descriptions_are_one_clear_sentence(tmp_path, changes, message):
    edit_json(write_dataset(tmp_path, 1) / "dataset.json", **changes)
    with pytest.raises(DataError, match=r"dataset\.json: ") as caught:
        Dataset.open(tmp_path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read as JSON"), ("[]", "must hold an object"), (None, "is missing")]
)
def test_unreadable_descriptions_show_an_example(tmp_path, text, message):
    if text is not None:
        (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=rf'dataset\.json: {message}.*"file_ending": "\.nii\.gz"'):
        Dataset.open(tmp_path)


def test_version_1_descriptions(tmp_path):
    write_dataset(tmp_path, 1)
    values = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "numTraining": 1}
    (tmp_path / "dataset.json").write_text(json.dumps(values))
    data = Dataset.open(tmp_path)
    assert (
        data.class_names == ("background", "liver") and data.channel_names == ("CT",) and data.file_ending == ".nii.gz"
    )
    assert data.name == tmp_path.name


def test_an_empty_folder_says_how_files_are_named(tmp_path):
    edit_json(write_dataset(tmp_path, 1) / "dataset.json", file_ending=".mha")
    with pytest.raises(DataError, match=r"imagesTr/ID_0000\.mha"):
        Dataset.open(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        Dataset.open(tmp_path / "nowhere")


def test_reading_errors_name_the_file(tmp_path):
    data = Dataset.open(write_dataset(tmp_path, 3, channels=2))
    write_scan(tmp_path / "imagesTr", "case_000", np.zeros((1, 9, 9, 9)), ".nii.gz")
    with pytest.raises(DataError, match=r"0001\.nii\.gz: lies on another grid than .*0000\.nii\.gz \(20 x 18 x 14"):
        data.read("case_000")
    (tmp_path / "imagesTr" / "case_001_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"has 1 channel, but dataset\.json names 2"):
        Dataset.open(tmp_path).read("case_001")
    write_image(tmp_path / "labelsTr" / "case_002.nii.gz", np.full((20, 18, 14), 5), Geometry.plain((20, 18, 14)))
    with pytest.raises(DataError, match="label value 5"):
        data.read_label("case_002")
    with pytest.raises(DataError, match="named like 'case_00"):
        data.read("case_00")


def test_splits_are_kept_by_name(tmp_path):
    data = Dataset.open(write_dataset(tmp_path, 5, test=1, unlabelled=1))
    first, second = data.split(labelled=2), data.split(labelled=4, validation=1)
    data.save_split("two", first)
    data.save_split("four", second)
    assert Dataset.open(tmp_path).load_split("two") == first and data.load_split("four") == second
    assert set(json.loads((tmp_path / "splits.json").read_text())) == {"splits"}
    with pytest.raises(DataError, match="has no split 'fuor'; did you mean 'four'"):
        data.load_split("fuor")


def test_splits_that_do_not_fit_are_refused(tmp_path):
    data = Dataset.open(write_dataset(tmp_path, 3, unlabelled=1))
    with pytest.raises(DataError, match="'extra_000' has no label"):
        data.save_split("x", Split(labelled=("extra_000",)))
    with pytest.raises(DataError, match=r"has no case '\.\./secret'"):
        data.save_split("x", Split(labelled=("../secret",)))
    (tmp_path / "splits.json").write_text(
        '{"splits": {"x": {"labelled": ["case_000"], "test": ["case_000"], "odd": 1}}}'
    )
    with pytest.raises(DataError, match=r"split 'x' is not valid.*odd"):
        data.load_split("x")
    (tmp_path / "splits.json").write_text("[")
    with pytest.raises(DataError, match=r"splits\.json: cannot be read"):
        data.load_split("x")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public data sets are not on this machine")
@pytest.mark.parametrize(
    ("name", "channels", "dims", "train", "test"), [("001_LeftAtrium", 1, 3, 80, 12), ("002_PH2", 3, 2, 140, 30)]
)
def test_real_folders(name, channels, dims, train, test):
    data = Dataset.open(SHARED / f"Dataset{name}")
    assert len(data.ids("train", labelled=True)) == train and len(data.ids("test", labelled=True)) == test
    assert data.spatial_dims == dims and data.read(data.ids("test")[0]).data.shape[0] == channels
