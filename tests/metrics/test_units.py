"""The unit of distances: millimetres where a file says its size, pixels where it says none, and never one for the other."""

import json

import numpy as np
import pytest

from fewmask.data.check import check_dataset
from fewmask.data.dataset import Dataset
from fewmask.data.geometry import Geometry
from fewmask.data.image import write_image
from fewmask.errors import DataError
from fewmask.metrics import evaluate
from helpers import edit_json, write_dataset
from program import call_main, tiny

SQUARE = np.zeros((20, 24), np.uint8)
SQUARE[4:10, 5:12] = 1
MOVED = np.roll(SQUARE, 3, axis=0)


def put(folder, name, values, spacing=None):
    grid = Geometry.plain(values.shape) if spacing is None else Geometry.spaced(values.shape, spacing)
    write_image(folder / name, values, grid)


def score(tmp_path):
    return evaluate(tmp_path / "predicted", tmp_path / "true", ("background", "lesion"))


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_pictures_without_a_size_are_measured_in_pixels(tmp_path, ending):
    put(tmp_path / "true", f"a{ending}", SQUARE)
    put(tmp_path / "predicted", f"a{ending}", MOVED)
    found = score(tmp_path)
    assert found.unit == "px" and found.rows[0].metrics["hd95"] == 3
    assert evaluate(tmp_path / "predicted", tmp_path / "true", unit="voxel").unit == "voxel"


@pytest.mark.parametrize(("true", "predicted"), [((0.5, 0.25),) * 2, ((0.5, 0.25), None), (None, (0.5, 0.25))])
def test_a_size_that_one_of_the_two_says_is_taken(tmp_path, true, predicted):
    put(tmp_path / "true", "a.tif", SQUARE, true)
    put(tmp_path / "predicted", "a.tif", MOVED, predicted)
    found = score(tmp_path)
    assert found.unit == "mm" and found.rows[0].metrics["hd95"] == pytest.approx(1.5)


def test_millimetres_and_pixels_have_no_mean(tmp_path):
    for folder, values in (("true", SQUARE), ("predicted", MOVED)):
        put(tmp_path / folder, "a.tif", values, (0.5, 0.25))
        put(tmp_path / folder, "b.tif", values)
    with pytest.raises(DataError, match=r"a has a spacing and b says none, .* give --unit voxel"):
        score(tmp_path)
    assert evaluate(tmp_path / "predicted", tmp_path / "true", unit="voxel").rows[1].metrics["hd95"] == 3


def test_every_page_and_table_says_pixels(tmp_path):
    """From training to the report, of a data set of PNG files; and the check, and a dry run."""
    write_dataset(tmp_path / "skin", cases=3, test=1, dims=2, channels=3)
    words = ["train", "skin", "--output", "run", "--labelled", "2", *tiny(2)]
    dry = call_main(*words, "--dry-run", cwd=tmp_path)
    assert "1 x 1 px" in dry.out and " mm" not in dry.out, dry.out
    for line in (words, ["predict", "run", "skin/imagesTs", "run/predictions"]):
        assert call_main(*line, cwd=tmp_path).code == 0
    told = call_main("evaluate", "run/predictions", "skin/labelsTs", cwd=tmp_path)
    assert "HD95, px" in told.out and "mm" not in told.out
    assert json.loads((tmp_path / "run/predictions/summary.json").read_text())["unit"] == "px"
    assert call_main("report", "run", cwd=tmp_path).code == 0
    page = (tmp_path / "run/report.html").read_text()
    assert "HD95, px" in page and "HD95, mm" not in page
    checked = call_main("check", "skin", cwd=tmp_path)
    assert "unknown: pictures without one" in checked.out


def test_the_check_names_pictures_without_a_size_among_others(tmp_path):
    root = write_dataset(tmp_path / "data", cases=3, dims=2)
    values = np.arange(20 * 24, dtype=np.uint8).reshape(20, 24)
    for folder in ("imagesTr", "labelsTr"):
        for path in (root / folder).iterdir():
            path.unlink()
    for number in range(3):
        put(root / "imagesTr", f"case_{number:03d}_0000.tif", values + number, None if number == 1 else (0.5, 0.25))
        put(root / "labelsTr", f"case_{number:03d}.tif", SQUARE)
    edit_json(root / "dataset.json", file_ending=".tif")
    found = [f for f in check_dataset(Dataset.open(root)).findings if "how large a pixel" in f.message]
    assert [(finding.severity, finding.case) for finding in found] == [("warning", "case_001")]
