"""Names in a dataset folder: channel numbers, double endings, twins, labels without scans."""

import pytest

from fewmask.data.dataset import Dataset
from fewmask.errors import DataError, FewmaskWarning
from helpers import edit_json, write_dataset

ONE, TWO, THREE = ({str(n): f"c{n}" for n in range(count)} for count in (1, 2, 3))


def folder(root, images, labels=(), channels=ONE, **description):
    write_dataset(root, 1, channel_names=channels, **description)
    for old in root.glob("*Tr/*"):
        old.unlink()
    for place, names in (("imagesTr", images), ("labelsTr", labels)):
        for name in names:
            (root / place / name).touch()
    return Dataset.open(root)


@pytest.mark.parametrize(
    ("images", "labels", "channels", "cases"),
    [
        (["patient_0001_0000.nii.gz"], ["patient_0001.nii.gz"], ONE, {"patient_0001": (1, True)}),
        (["scan_0001.nii.gz", "scan_0002.nii.gz"], ["scan_0001.nii.gz"], ONE, {"scan_0001": (1, True), "scan_0002": (1, False)}),
        (["anna.nii.gz", "scan_0007.nii.gz"], ["anna.nii.gz"], ONE, {"anna": (1, True), "scan_0007": (1, False)}),
        (["a_0000.nii.gz", "a_0001.nii.gz"], ["a.nii.gz"], TWO, {"a": (2, True)}),
        (["a_0000.nii.gz"], ["a.nii.gz"], TWO, {"a": (1, True)}),
        (["a_0001_0000.nii.gz", "a_0001_0001.nii.gz"], ["a_0001.nii.gz"], TWO, {"a_0001": (2, True)}),
        (["photo_0100.nii.gz", "photo_0101.nii.gz"], [], THREE, {"photo_0100": (1, False), "photo_0101": (1, False)}),
        (["a_0000.nii.gz", "a_0000_0000.nii.gz"], ["a_0000.nii.gz"], ONE, {"a": (1, False), "a_0000": (1, True)}),
        (["a_00000.nii.gz", "a_00001.nii.gz"], ["a_00000.nii.gz"], ONE, {"a_00000": (1, True), "a_00001": (1, False)}),
    ],
)  # fmt: skip
def test_a_number_is_a_channel_where_dataset_json_has_it(tmp_path, images, labels, channels, cases):
    data = folder(tmp_path, images, labels, channels)
    assert {case.id: (len(case.images), case.label is not None) for case in data.cases.values()} == cases
    assert not [problem for problem in data.problems if problem.severity != "note"]


@pytest.mark.parametrize(
    ("images", "channels", "text"),
    [
        (["a_0000.nii.gz", "a_0001.nii.gz"], ONE, "channel files _0000, _0001, but dataset.json asks for _0000; rename them, a scan that is called a_0001 itself to a_0001_0000.nii.gz"),
        (["a_0000.nii.gz", "b_0002.nii.gz"], ONE, "channel files _0002"),
        (["a_0000.nii.gz", "a_0002.nii.gz"], TWO, "asks for _0000 to _0001"),
        (["a_0001.nii.gz"], TWO, "channel files _0001"),
    ],
)  # fmt: skip
def test_numbers_that_could_be_either_are_refused_with_both_ways_out(tmp_path, images, channels, text):
    data = folder(tmp_path, images, channels=channels)
    (problem,) = data.problems
    assert problem.severity == "error" and text in problem.message
    with pytest.raises(DataError, match="rename them"):
        data.read(problem.case)


@pytest.mark.parametrize(
    ("images", "labels", "path", "text"),
    [
        ("a_0000.nii.gz", "a.nii.gz b.nii.gz", "labelsTr/b.nii.gz", "is a label whose scan is missing from imagesTr; add the scan, or remove the label"),
        ("a_0000.nii.gz", "a_0000.nii.gz", "labelsTr/a_0000.nii.gz", "but a is there; a label has no channel number, so name it a.nii.gz"),
        ("a_0000.nii.gz", "a_seg.nii.gz", "labelsTr/a_seg.nii.gz", 'but a is there; name it a.nii.gz, or write "label_ending": "_seg.nii.gz"'),
        ("a_0000.nii.gz", "a.label.nii.gz", "labelsTr/a.label.nii.gz", '"label_ending": ".label.nii.gz"'),
        ("a_0000.nii.gz a.nii.gz", "a.nii.gz", "imagesTr/a.nii.gz", "is of case 'a', which has a file a_0000.nii.gz already"),
        ("a_0000.nii.gz a_0000.nii", "a.nii.gz", "imagesTr/a_0000.nii", "is of case 'a', which has a file a_0000.nii.gz already"),
        ("a_0000.nii.gz", "a.nii.gz a.nii", "labelsTr/a.nii", "is of case 'a', which has a file a.nii.gz already"),
        ("a_0000.nii.gz", "a.nii.gz a.NII.GZ", "labelsTr/a.NII.GZ", "is of case 'a'"),
    ],
)  # fmt: skip
def test_labels_without_scans_and_twins_are_told_wherever_they_would_be_missed(tmp_path, images, labels, path, text):
    data = folder(tmp_path, ["z_0000.nii.gz", *images.split()], ["z.nii.gz", *labels.split()])
    (problem,) = (problem for problem in data.problems if problem.path == tmp_path / path)
    assert problem.severity != "note" and text in problem.message
    with pytest.warns(FewmaskWarning) as told:
        split = data.split()
    data.save_split("x", split)
    with pytest.warns(FewmaskWarning) as told_again:
        data.load_split("x")
    assert {str(warning.message) for warning in (*told, *told_again)} == {f"{tmp_path / path}: {problem.message}"}


def test_many_such_labels_are_one_sentence(tmp_path):
    data = folder(tmp_path, ["z_0000.nii.gz"], ["z.nii.gz", "a.nii.gz", "b.nii.gz", "c.nii.gz"])
    with pytest.warns(FewmaskWarning, match=r"scan is missing.*\(fewmask check lists 2 more\)") as told:
        data.split()
    assert len(told) == 1


def test_where_no_label_has_a_scan_the_reason_is_the_error(tmp_path):
    data = folder(tmp_path, ["a_0000.nii.gz", "b_0000.nii.gz"], ["a_seg.nii.gz", "b_seg.nii.gz"])
    with pytest.raises(
        DataError,
        match=r'a_seg\.nii\.gz: is a label whose scan is missing.*"label_ending": "_seg\.nii\.gz".*lists 1 more',
    ):
        data.split()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("ending", [".seg", "_seg", ".label", "-mask"])
def test_double_endings_of_labels(tmp_path, ending, dims):
    root = write_dataset(tmp_path, 2, dims, ending=".nrrd")
    before = Dataset.open(root).read_label("case_000")
    for path in (root / "labelsTr").iterdir():
        path.rename(path.with_name(f"{path.stem}{ending}.nrrd"))
    with pytest.warns(
        FewmaskWarning,
        match=rf'write "label_ending": "{ending}\.nrrd" into dataset\.json \(fewmask check lists 1 more\)',
    ):
        Dataset.open(root).warn_of_lost()
    edit_json(root / "dataset.json", label_ending=f"{ending}.nrrd")
    data = Dataset.open(root)
    assert data.ids("train", labelled=True) == ["case_000", "case_001"] and not data.problems
    assert (data.read_label("case_000").data == before.data).all()


def test_double_endings_of_scans(tmp_path):
    root = write_dataset(tmp_path, 2)
    for path in (root / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", "_img.nii.gz")))
    edit_json(root / "dataset.json", file_ending="_img.nii.gz", label_ending=".nii.gz")
    data = Dataset.open(root)
    assert data.ids("train", labelled=True) == ["case_000", "case_001"] and data.read("case_000").data.shape[0] == 1


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        ("seg.nii.gz", "write what stands behind ID"),
        ("_0000.nii.gz", "write what stands behind ID"),
        ("/x.nii.gz", "write what stands behind ID"),
        (".seg.jpg", "JPEG changes label values"),
        (".nii.gz.gz", "did you mean '.nii.gz'"),
    ],
)
def test_endings_that_are_none(tmp_path, ending, text):
    edit_json(write_dataset(tmp_path, 1) / "dataset.json", label_ending=ending)
    with pytest.raises(DataError, match=r"dataset\.json.*label_ending") as caught:
        Dataset.open(tmp_path)
    assert text in str(caught.value)
