"""Conversions that would lose something: lists that name a file twice, files that somebody edited, cases that changed."""

import json

import pytest

from fewmask.data.convert import convert
from fewmask.errors import DataError, WriteError
from helpers import edit_json
from layouts import LA_CASES, everything, scan, write_la, write_nifti


@pytest.fixture
def raw(tmp_path):
    """Four scans with labels below ``raw``."""
    for number in range(4):
        image, mask = scan(number)
        write_nifti(tmp_path / f"raw/images/s{number}.nii.gz", image)
        write_nifti(tmp_path / f"raw/labels/s{number}.nii.gz", mask)
    return tmp_path / "raw"


def entry(image, label=None):
    names = {"image": f"images/s{image}.nii.gz"}
    return names if label is None else {**names, "label": f"labels/s{label}.nii.gz"}


def listed(raw, **parts):
    (raw / "list.json").write_text(json.dumps(parts))
    return raw


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            {"training": [entry(0, 0), entry(0, 0)]},
            "names the scan images/s0.nii.gz twice under training; keep it once",
        ),
        ({"training": [entry(0, 0), entry(1, 1), entry(0)]}, "names the scan images/s0.nii.gz twice under training"),
        (
            {"training": [entry(0, 0)], "validation": [entry(0, 0)]},
            "names the scan images/s0.nii.gz under training and under validation",
        ),
        (
            {"training": [entry(0, 0)], "testing": ["images/s0.nii.gz"]},
            "images/s0.nii.gz under training and under test",
        ),
        ({"training": [entry(0, 0), {"image": "images/./s0.nii.gz"}]}, "names the scan images/s0.nii.gz twice"),
        ({"training": [entry(0, 0), {"image": "labels/s0.nii.gz"}]}, "names labels/s0.nii.gz as a scan and as a label"),
        ({"training": [entry(0, 9)]}, "names 'labels/s9.nii.gz', but"),
        ({"training": [{"label": "labels/s0.nii.gz"}]}, "an entry is"),
    ],
)
def test_lists_that_name_a_file_twice_or_not_at_all(raw, tmp_path, parts, text):
    with pytest.raises(DataError, match=r"list\.json: ") as caught:
        convert("datalist", listed(raw, **parts), tmp_path / "out")
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_label_of_two_scans_is_told(raw, tmp_path):
    done = convert("datalist", listed(raw, training=[entry(0, 0), entry(1, 0)]), tmp_path / "out")
    (told,) = done.missing
    assert "gives the label labels/s0.nii.gz to two scans, images/s0.nii.gz and images/s1.nii.gz" in told
    assert len(done.dataset.ids("train", labelled=True)) == 2


def test_names_that_differ_by_a_channel_number_alone(raw, tmp_path):
    (raw / "images/s1.nii.gz").rename(raw / "images/s0_0000.nii.gz")
    done = convert(
        "datalist", listed(raw, training=[entry(0, 0), {"image": "images/s0_0000.nii.gz"}]), tmp_path / "out"
    )
    assert sorted(done.dataset.cases) == ["s0", "s0_0000"]


def test_scans_of_one_name_in_many_folders(raw, tmp_path):
    names = ["images/s0.nii.gz", "a/images/s0.nii.gz", "b/images/s0.nii.gz"]
    for name in names[1:]:
        (raw / name).parent.mkdir(parents=True)
        (raw / name).write_bytes((raw / "images/s1.nii.gz").read_bytes())
    done = convert("datalist", listed(raw, training=[entry(0, 0), *names[1:]]), tmp_path / "out")
    assert len(done.dataset) == 3 and all(case.endswith("images_s0") for case in done.dataset.cases)
    (raw / "c/a/images").mkdir(parents=True)
    (raw / "a/images/s0.nii.gz").rename(raw / "c/a/images/s0.nii.gz")
    (raw / "d/a/images").mkdir(parents=True)
    (raw / "b/images/s0.nii.gz").rename(raw / "d/a/images/s0.nii.gz")
    names = [f"{folder}/a/images/s0.nii.gz" for folder in "cd"]
    with pytest.raises(DataError, match=r"list\.json: .* would both be the case 'a_images_s0'; rename one of them"):
        convert("datalist", listed(raw, training=[entry(0, 0), *names]), tmp_path / "more")


def test_names_that_differ_in_case_alone(raw, tmp_path):
    (raw / "images/s1.nii.gz").rename(raw / "images/S0.nii.gz")
    with pytest.raises(DataError, match=r"is the case 'S0' like .*s0\.nii\.gz; keep one of the two"):
        convert("datalist", listed(raw, training=[entry(0, 0), {"image": "images/S0.nii.gz"}]), tmp_path / "out")


def test_a_description_that_somebody_edited_stays(tmp_path):
    raw, root = write_la(tmp_path / "raw"), tmp_path / "la"
    convert("la", raw, root)
    edit_json(root / "dataset.json", patients={LA_CASES[0]: "a", LA_CASES[1]: "a"})
    before = everything(root)
    with pytest.raises(WriteError, match=r"dataset\.json: is there already with other contents; add --overwrite"):
        convert("la", raw, root)
    assert everything(root) == before
    convert("la", raw, root, overwrite=True)
    assert "patients" not in json.loads((root / "dataset.json").read_text())


def test_another_split_of_the_same_name_stays(raw, tmp_path):
    lists, root = listed(raw, training=[entry(n, n) for n in range(3)]), tmp_path / "out"
    data = convert("datalist", lists, root).dataset
    data.save_split("datalist", data.split(1), replace=True)
    data.save_split("mine", data.split(2))
    before = everything(root)
    with pytest.raises(DataError, match=r"splits\.json: has another split 'datalist'; add --overwrite"):
        convert("datalist", lists, root)
    assert everything(root) == before
    done = convert("datalist", lists, root, overwrite=True)
    assert len(done.dataset.load_split("datalist").labelled) == 3 and done.dataset.load_split("mine")


def test_a_new_case_needs_no_leave(tmp_path):
    raw, root = write_la(tmp_path / "raw", LA_CASES[:2]), tmp_path / "la"
    convert("la", raw, root)
    write_la(tmp_path / "more", ("NEW",))
    (tmp_path / "more/Training Set/NEW").rename(raw / "Training Set/NEW")
    done = convert("la", raw, root)
    assert done.written == 1 and "NEW" in done.dataset.cases
    assert json.loads((root / "dataset.json").read_text())["numTraining"] == len(done.dataset.ids("train"))


def test_a_refused_conversion_is_asked_again(tmp_path):
    """The record of a case that changed stays until the case is written."""
    raw, root = write_la(tmp_path / "raw"), tmp_path / "la"
    convert("la", raw, root)
    (raw / "Training Set" / LA_CASES[0] / "laendo.nrrd").write_bytes(
        (raw / "Training Set" / LA_CASES[1] / "laendo.nrrd").read_bytes()
    )
    for _ in range(2):
        with pytest.raises(WriteError, match=rf"labelsTr/{LA_CASES[0]}.*add --overwrite"):
            convert("la", raw, root)
    assert convert("la", raw, root, overwrite=True).written == 1
    assert convert("la", raw, root).written == 0


def test_labels_corrected_by_hand_are_not_removed_with_a_case_that_moves(tmp_path):
    raw, root = write_la(tmp_path / "raw"), tmp_path / "la"
    assert convert("la", raw, root).dataset.ids("test") == [LA_CASES[2]]
    label = root / f"labelsTs/{LA_CASES[2]}.nii.gz"
    label.write_bytes((root / f"labelsTr/{LA_CASES[0]}.nii.gz").read_bytes())
    write_la(tmp_path / "more", ("OTHER",))
    (tmp_path / "more/Training Set").rename(raw / "Testing Set")
    corrected = label.read_bytes()
    with pytest.raises(WriteError, match=rf"labelsTs/{LA_CASES[2]}.*add --overwrite"):
        convert("la", raw, root)
    assert label.read_bytes() == corrected
    data = convert("la", raw, root, overwrite=True).dataset
    assert data.ids("test") == ["OTHER"] and not label.exists()
