"""What is said of a label on another grid than its scan: the reason, its millimetres, and what to do."""

import gzip

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from corpus.harness import call, findings_of
from fewmask.data.check import check_dataset
from fewmask.data.convert.run import convert
from fewmask.data.geometry import Geometry
from fewmask.data.grids import compare
from fewmask.data.image import read_geometry, read_image
from helpers import write_dataset
from program import tiny

SHAPE = (20, 18, 14)
SCAN = np.diag([0.75, 0.5, 2.5, 1.0])
SCAN[:3, 3] = 10, -20, 30


def with_axes(change):
    affine = SCAN.copy()
    affine[:3, :3] = affine[:3, :3] @ change
    return affine


def moved(*offset):
    affine = SCAN.copy()
    affine[:3, 3] += offset
    return affine


def mirrored(axis):
    """The same space, counted from the other end."""
    affine = SCAN.copy()
    affine[:3, 3] += (SHAPE[axis] - 1) * affine[:3, axis]
    affine[:3, axis] *= -1
    return affine


def turned(degrees):
    affine = SCAN.copy()
    affine[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() @ affine[:3, :3]
    return affine


# Words of the difference, the furthest distance by hand, and what to do.
HEADERS = {
    "an origin elsewhere": (moved(3, 0, -4), "the origin is 5 mm off (3, 0, -4)", 5, "--geometry scan"),
    "half a voxel": (moved(0.375, 0.25, 1.25), "the origin is 1.33 mm off", 1.33, "--geometry scan"),
    "an axis against its origin": (
        with_axes(np.diag([-1, 1, 1])),
        "axis x the other way round",
        28.5,
        "--geometry scan",
    ),
    "two axes, as LPS for RAS": (
        with_axes(np.diag([-1, -1, 1])),
        "axes x, y the other way round",
        33.2,
        "--geometry scan",
    ),
    "a mirrored grid": (
        mirrored(1),
        "the same space, but axis y the other way round",
        8.5,
        "if it fits voxel by voxel, take --geometry scan",
    ),
    "a rounded spacing": (
        with_axes(np.diag([1.01, 1.01, 1])),
        "its spacing is rounded (0.7575 x 0.505 x 2.5 against",
        0.166,
        "--geometry scan",
    ),
    "a spacing in micrometres": (
        with_axes(np.eye(3) * 1000),
        "its spacing is in another unit",
        36392,
        "--geometry scan",
    ),
    "a spacing that was lost": (
        with_axes(np.diag([1 / 0.75, 2, 0.4])),
        "its spacing was lost (1 x 1 x 1 against",
        21.8,
        "--geometry scan",
    ),
    "no place": (np.eye(4), "its header says no place", 58.0, "--geometry scan"),
    "no place, of ITK": (np.diag([-1.0, -1, 1, 1]), "its header says no place", None, "--geometry scan"),
    "turned": (turned(12), "it is turned by 12 degrees", None, "--geometry scan"),
}
TRUE = {
    "another spacing": (SHAPE, with_axes(np.diag([1.3, 1.3, 1])), "its spacing is another", "resample it to that grid"),
    "fewer slices": ((20, 18, 13), SCAN, "20 x 18 x 13 voxels", "resample it to that grid"),
    "axes in another order": ((18, 20, 14), SCAN[:, [1, 0, 2, 3]], "18 x 20 x 14", "nothing is to be resampled"),
    "axes in another order, header not": (
        (14, 18, 20),
        SCAN,
        "14 x 18 x 20",
        "save it in its scan's; resample it only if",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_differs(name):
    affine, words, distance, advice = HEADERS[name]
    found = compare(Geometry(SHAPE, affine), Geometry(SHAPE, SCAN))
    assert words in found.words and advice in found.advice and "resample it" not in found.advice
    said = float(found.words.rsplit("voxels up to ", 1)[1].removesuffix(" mm apart"))
    corners = np.array([(x, y, z, 1) for x in (0, 19) for y in (0, 17) for z in (0, 13)])
    assert said == pytest.approx(np.linalg.norm((corners @ (affine - SCAN).T), axis=1).max(), rel=0.005)
    assert distance is None or said == pytest.approx(distance, rel=0.01)


@pytest.mark.parametrize("name", TRUE)
def test_a_grid_that_differs(name):
    shape, affine, words, advice = TRUE[name]
    found = compare(Geometry(shape, affine), Geometry(SHAPE, SCAN))
    assert words in found.words and advice in found.advice and "--geometry" not in found.advice


def rewrite(path, affine, *, qform=None, codes=(1, 1), bare=False):
    """The voxels of a file under another header, by nibabel."""
    image = nibabel.Nifti1Image(np.asarray(nibabel.load(path).dataobj), affine)
    image.set_qform(affine if qform is None else qform, codes[1], update_affine=False)
    image.set_sform(affine, codes[0], update_affine=False)
    path.unlink()
    nibabel.save(image, path)


@pytest.fixture
def folder(tmp_path):
    root = write_dataset(tmp_path / "data", cases=3, test=1, spacing=(0.75, 0.5, 2.5))
    for path in root.glob("*T[rs]/*.nii.gz"):
        rewrite(path, SCAN)
    return root


def label_of(root):
    return root / "labelsTr/case_001.nii.gz"


def test_the_check_names_the_difference_and_takes_the_label_when_told(folder):
    rewrite(label_of(folder), moved(3, 0, -4))
    (found,) = check_dataset(folder).findings
    assert (
        found.severity == "error" and "the origin is 5 mm off" in found.message and "--geometry scan" in found.message
    )
    (found,) = check_dataset(folder, geometry="scan").findings
    assert found.severity == "note" and "is taken voxel by voxel on the grid of case_001_0000.nii.gz" in found.message
    outcome = call(folder.parent, "check", "data", "--geometry", "scan", "--json")
    assert outcome.code == 0 and [f["severity"] for f in findings_of(outcome)] == ["note"]


def test_the_check_names_both_codes(folder):
    rewrite(folder / "imagesTr/case_001_0000.nii.gz", SCAN, qform=moved(5, 0, 0), codes=(2, 1))
    rewrite(label_of(folder), moved(5, 0, 0))  # as ITK writes it, which took the scan's qform
    error, warning = check_dataset(folder).findings
    assert "sform and qform of case_001_0000.nii.gz are up to 5 mm apart" in error.message
    assert error.message.endswith("take --geometry qform")
    assert warning.severity == "warning" and warning.path.name == "case_001_0000.nii.gz"
    assert "a sform and a qform that are up to 5 mm apart; fewmask takes the sform" in warning.message
    (warning,) = check_dataset(folder, geometry="qform").findings
    assert "fewmask takes the qform" in warning.message and "(--geometry header does)" in warning.message


def test_the_check_says_that_a_header_has_no_place(folder):
    content = bytearray(nibabel.Nifti1Image(np.asarray(nibabel.load(label_of(folder)).dataobj), SCAN).to_bytes())
    content[252:256] = bytes(4)
    label_of(folder).write_bytes(gzip.compress(bytes(content)))
    (error,) = check_dataset(folder).findings
    assert "case_001.nii.gz has neither an sform nor a qform" in error.message and "--geometry scan" in error.message


def test_all_verbs_take_the_label_when_told(folder):
    """Training, prediction and scores are, to the last digit, those of the label whose header is right."""
    place, scores = folder.parent, {}
    for name, affine, choice in (("right", SCAN, []), ("wrong", moved(0, 8, 0), ["--geometry", "scan"])):
        for path in (*folder.glob("labelsTr/*.gz"), *folder.glob("labelsTs/*.gz")):
            rewrite(path, affine)
        train = ["train", "data", "--output", name, "--set", "train.iterations=2", *tiny(3)[2:]]
        if choice:
            refused = call(place, *train)
            assert (
                refused.code == 1
                and "the origin is 8 mm off (0, 8, 0)" in refused.err
                and "--geometry scan" in refused.err
            )
        assert call(place, *train, *choice).code == 0
        outcome = call(place, "predict", name, "data/imagesTs", f"{name}/predictions")
        assert outcome.code == 0, outcome.err
        outcome = call(place, "evaluate", f"{name}/predictions", "data/labelsTs")  # the run says how
        assert outcome.code == 0, outcome.err
        scores[name] = (place / name / "predictions/scores.csv").read_text()
    assert scores["right"] == scores["wrong"]
    assert "geometry: scan" in (place / "wrong/config.yaml").read_text()
    refused = call(place, "evaluate", "wrong/predictions", "data/labelsTs", "--geometry", "header")
    assert refused.code == 1 and "--geometry scan" in refused.err


def test_predictions_keep_both_codes_of_their_scan(folder):
    for path in (*folder.glob("images*/*.gz"), *folder.glob("labels*/*.gz")):
        rewrite(path, SCAN, qform=moved(5, 0, 0), codes=(2, 1))
    place = folder.parent
    assert call(place, "train", "data", "--output", "run", "--geometry", "qform", *tiny(3)).code == 0
    outcome = call(place, "predict", "run", "data/imagesTs", "out")
    assert outcome.code == 0, outcome.err
    written, scan = place / "out/test_000.nii.gz", folder / "imagesTs/test_000_0000.nii.gz"
    for by in ("header", "qform"):
        np.testing.assert_array_equal(read_geometry(written, by=by).affine, read_geometry(scan, by=by).affine)
    assert call(place, "evaluate", "out", "data/labelsTs").code == 0


def test_a_conversion_mends_the_header(folder, tmp_path):
    rewrite(label_of(folder), moved(3, 0, -4))
    raw = tmp_path / "raw"
    (folder / "imagesTr/case_001_0000.nii.gz").rename(raw.with_name("scan.nii.gz"))
    raw.mkdir()
    raw.with_name("scan.nii.gz").rename(raw / "a.nii.gz")
    label_of(folder).rename(raw / "a_label.nii.gz")
    (raw / "list.json").write_text('{"training": [{"image": "a.nii.gz", "label": "a_label.nii.gz"}]}')
    refused = call(tmp_path, "convert", "datalist", "raw", "one")
    assert refused.code == 1 and "the origin is 5 mm off" in refused.err and "--geometry scan" in refused.err
    assert call(tmp_path, "convert", "datalist", "raw", "two", "--geometry", "scan").code == 0
    data = convert("datalist", raw, tmp_path / "two", geometry="scan").dataset  # goes on, and finds all there
    assert data.read_label("a").geometry.matches(data.read("a").geometry, 1e-9)
    np.testing.assert_array_equal(data.read_label("a").data, read_image(raw / "a_label.nii.gz").data[0])
    assert check_dataset(data.root).ok
