import json

import numpy as np
import pytest

from fewmask.data.check import check_dataset
from fewmask.data.convert import convert
from fewmask.errors import ConfigError, DataError
from layouts import scan, write_nifti


def write_datalist(root, entries, **more):
    root.mkdir(parents=True, exist_ok=True)
    (root / "list.json").write_text(json.dumps({"training": entries, **more}))
    return root


def entry(root, number, label=True, folder="", **more):
    """An entry, and its files."""
    image, mask = scan(number)
    write_nifti(root / f"{folder}images/s{number}.nii.gz", image)
    write_nifti(root / f"{folder}labels/s{number}.nii.gz", mask)
    names = {"image": f"{folder}images/s{number}.nii.gz", "label": f"{folder}labels/s{number}.nii.gz"}
    return {**(names if label else {"image": names["image"]}), **more}


def test_parts(tmp_path):
    raw = tmp_path / "raw"
    entries = [entry(raw, 0), entry(raw, 1), entry(raw, 2, label=False)]
    write_datalist(raw, entries, validation=[entry(raw, 3)], testing=["images/s4.nii.gz"])
    entry(raw, 4)
    done = convert("datalist", raw, tmp_path / "out", {"classes": ["background", "organ"]})
    data = done.dataset
    split = data.load_split("datalist")
    assert (split.labelled, split.validation, split.unlabelled, split.test) == (("s0", "s1"), ("s3",), ("s2",), ("s4",))
    assert data.ids("unlabelled") == ["s2"] and data.ids("test") == ["s4"]
    np.testing.assert_array_equal(data.read("s1").data[0], scan(1)[0])
    np.testing.assert_array_equal(data.read_label("s1").data, scan(1)[1])
    assert check_dataset(tmp_path / "out").ok


def test_folds(tmp_path):
    raw = tmp_path / "raw"
    write_datalist(raw, [entry(raw, n, fold=n % 2) for n in range(4)])
    split = convert("datalist", raw, tmp_path / "out", {"fold": 1}).dataset.load_split("datalist")
    assert split.labelled == ("s0", "s2") and split.validation == ("s1", "s3")


def test_channels_in_files_or_in_one_file(tmp_path):
    raw = tmp_path / "raw"
    parts = [f"images/a_{name}.nii.gz" for name in ("t1", "t2")]
    for number, name in enumerate(parts):
        write_nifti(raw / name, scan(number)[0])
    write_nifti(raw / "labels/a.nii.gz", scan(0)[1])
    write_datalist(raw, [{"image": parts, "label": "labels/a.nii.gz"}])
    data = convert("datalist", raw, tmp_path / "out").dataset
    assert list(data.cases) == ["a_t"] and data.channel_names == ("image 0", "image 1")
    np.testing.assert_array_equal(data.read("a_t").data, [scan(0)[0], scan(1)[0]])
    write_nifti(raw / "images/b.nii.gz", np.stack([scan(0)[0], scan(1)[0]], axis=-1))
    write_datalist(raw, [{"image": "images/b.nii.gz", "label": "labels/a.nii.gz"}])
    data = convert("datalist", raw, tmp_path / "one", {"channels": ["T1", "T2"]}).dataset
    np.testing.assert_array_equal(data.read("b").data, [scan(0)[0], scan(1)[0]])


def test_files_that_are_called_alike_are_named_by_their_folders(tmp_path):
    raw = tmp_path / "raw"
    for name in ("anna", "bert"):
        write_nifti(raw / name / "ct.nii.gz", scan(1)[0])
    write_datalist(raw, [{"image": f"{name}/ct.nii.gz"} for name in ("anna", "bert")])
    assert list(convert("datalist", raw, tmp_path / "out").dataset.cases) == ["anna", "bert"]


def test_a_base_below_the_folder(tmp_path):
    raw = tmp_path / "raw"
    entry(raw, 0, folder="data/")
    write_datalist(raw, [{"image": "images/s0.nii.gz", "label": "labels/s0.nii.gz"}])
    assert list(convert("datalist", raw, tmp_path / "out", {"base": "data"}).dataset.cases) == ["s0"]


@pytest.mark.parametrize(
    "name", ["/etc/hosts", "../secret.nii.gz", "images/../../secret.nii.gz", 7, "images/nope.nii.gz"]
)
def test_files_are_below_the_folder(tmp_path, name):
    raw = tmp_path / "raw"
    write_nifti(tmp_path / "secret.nii.gz", scan()[0])
    write_datalist(raw, [entry(raw, 0), {"image": name}])
    with pytest.raises(DataError, match=r"list\.json: names"):
        convert("datalist", raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([], "must hold an object"),
        ({}, "expected a list under"),
        ({"training": [{}]}, "an entry is"),
        ({"training": [{"label": "x"}]}, "an entry is"),
        ({"training": []}, "holds no case|list"),
    ],
)
def test_other_json(tmp_path, values, match):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/list.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=match):
        convert("datalist", tmp_path / "raw", tmp_path / "out")


def test_which_list(tmp_path):
    raw = tmp_path / "raw"
    write_datalist(raw, [entry(raw, 0)])
    (raw / "other.json").write_text("{}")
    with pytest.raises(
        DataError, match=r"expected one JSON file, or --set file=NAME, but found list\.json, other\.json"
    ):
        convert("datalist", raw, tmp_path / "out")
    assert len(convert("datalist", raw, tmp_path / "out", {"file": "list.json"}).dataset) == 1
    with pytest.raises(DataError, match="lies outside"):
        convert("datalist", raw, tmp_path / "o2", {"file": "../x.json"})
    with pytest.raises(DataError, match="lies outside"):
        convert("datalist", raw, tmp_path / "o2", {"file": "list.json", "base": ".."})
    with pytest.raises(ConfigError):
        convert("datalist", raw, tmp_path / "o2", {"classes": ["a"]})
