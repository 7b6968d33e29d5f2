"""Single slices through the real program: each is trained on, predicted and written in its own shape, 2D and among volumes."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK

from fewmask.data.check import check_dataset
from fewmask.data.dataset import Dataset
from helpers import blobs
from program import TINY, call_main

AFFINE = np.array([[0, 0, 4.0, 10], [-0.75, 0, 0, -20], [0, 0.5, 0, 30], [0, 0, 0, 1.0]])


def placed(side, place):
    """A slice's shape and affine with its thin axis at a place; None: no such axis in the file."""
    shape = list(side)
    if place is not None:
        shape.insert(place, 1)
    order = [0, 1, 2, 3] if place in (None, 2) else [2, 0, 1, 3] if place == 0 else [0, 2, 1, 3]
    return tuple(shape), AFFINE[:, order]


def write(root, number, shape, affine, label_shape=None, *, unit="mm"):
    """A case whose scan and label are written by nibabel, the label's array perhaps in another of the shapes of a slice."""
    image, label = blobs(tuple(side for side in shape if side > 1), seed=number)
    for folder, name, values in (("imagesTr", f"case_{number}_0000", image[0]), ("labelsTr", f"case_{number}", label)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        own, grid = (shape, affine) if folder == "imagesTr" or label_shape is None else label_shape
        file = nibabel.Nifti1Image(values.reshape(own), grid)
        file.header.set_xyzt_units(unit)
        nibabel.save(file, root / folder / f"{name}.nii.gz")


def describe(root, cases):
    text = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "disc": 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(text))
    return root


def run(place, *settings):
    """A training of two steps with the settings that a user gets, but for width and batch."""
    words = [word for setting in (*TINY, "train.iterations=2", *settings) for word in ("--set", setting)]
    for command in (["train", "data", "--output", "run", *words], ["predict", "run", "data/imagesTr", "out"]):
        outcome = call_main(*command, cwd=place)
        assert outcome.code == 0, outcome.err
    return {path.name.removesuffix(".nii.gz"): nibabel.load(path) for path in (place / "out").iterdir()}


def check_written(place, predicted):
    """Each label map has its scan's stored shape and header, for nibabel and for ITK, and scores against its label."""
    for case, label in predicted.items():
        scan = nibabel.load(place / f"data/imagesTr/{case}_0000.nii.gz")
        assert label.shape == scan.shape and label.header["xyzt_units"] == scan.header["xyzt_units"]
        np.testing.assert_array_equal(label.affine, scan.affine)
        if len(scan.shape) == 3:
            there, here = (SimpleITK.ReadImage(str(path)) for path in (scan.get_filename(), label.get_filename()))
            assert here.GetSize() == there.GetSize() and here.GetSpacing() == there.GetSpacing()
            assert here.GetOrigin() == there.GetOrigin() and here.GetDirection() == there.GetDirection()
    outcome = call_main("evaluate", "out", "data/labelsTr", "--json", cwd=place)
    assert outcome.code == 0 and json.loads(outcome.out)["cases"] == len(predicted), outcome.err


def test_slices_of_all_shapes_are_one_2d_data_set(tmp_path):
    root = tmp_path / "data"
    for number, place in enumerate((None, 2, 0, 1)):
        write(root, number, *placed((24, 20), place))
    write(root, 4, *placed((24, 20), 0), placed((24, 20), None))  # the label in another of the shapes
    describe(root, 5)
    assert check_dataset(root).ok and Dataset.open(root).spatial_dims == 2
    spacings = {row.spacing for row in check_dataset(root).rows}
    assert {tuple(round(length, 6) for length in spacing) for spacing in spacings} == {(0.75, 0.5)}
    predicted = run(tmp_path)
    assert [predicted[f"case_{n}"].shape for n in range(5)] == [
        (24, 20),
        (24, 20, 1),
        (1, 24, 20),
        (24, 1, 20),
        (1, 24, 20),
    ]
    check_written(tmp_path, predicted)


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_a_unit_goes_all_the_way(tmp_path, unit):
    """Distances are in millimetres, and the label map's header is in the scan's unit."""
    root, factor = tmp_path / "data", {"micron": 1e-3, "meter": 1e3}[unit]
    for number in range(2):
        write(root, number, *placed((24, 20), 2), unit=unit)
    describe(root, 2)
    assert check_dataset(root).rows[0].spacing == pytest.approx((0.75 * factor, 0.5 * factor))
    predicted = run(tmp_path)
    check_written(tmp_path, predicted)
    assert json.loads((tmp_path / "run/task.json").read_text())["spacing"] == pytest.approx(
        [0.75 * factor, 0.5 * factor]
    )


def test_a_slice_among_volumes_is_a_volume_of_one_slice(tmp_path):
    root = tmp_path / "data"
    for number, depth in enumerate((9, 10, 11)):
        write(root, number, (24, 20, depth), AFFINE)
    for number, place in ((3, 2), (4, 0), (5, None)):
        write(root, number, *placed((24, 20), place))
    describe(root, 6)
    report = check_dataset(root)
    assert report.ok and sum("has one slice" in finding.message for finding in report.findings) == 3
    assert Dataset.open(root).spatial_dims == 3
    predicted = run(tmp_path)
    assert [predicted[f"case_{n}"].shape for n in (2, 3, 4, 5)] == [(24, 20, 11), (24, 20, 1), (1, 24, 20), (24, 20)]
    check_written(tmp_path, predicted)


def test_a_volume_among_slices_is_said_to_be_the_odd_one(tmp_path):
    root = tmp_path / "data"
    for number in range(4):
        write(root, number, *placed((24, 20), 2))
    write(root, 4, (24, 20, 6), AFFINE)
    describe(root, 5)
    (finding,) = [found for found in check_dataset(root).findings if found.severity == "error"]
    assert "is 3D, but most scans are 2D" in finding.message
    outcome = call_main("train", "data", "--output", "run", cwd=tmp_path)
    assert (
        outcome.code == 1 and "case_4_0000.nii.gz: is 3D" in outcome.err and "are 2D, of one slice each" in outcome.err
    )
