import csv
import json
import shutil

import pytest


@pytest.fixture(scope="module")
def predictions(place):
    """The references themselves, as perfect predictions."""
    for name in ("heart", "skin"):
        shutil.copytree(place / name / "labelsTs", place / "perfect" / name)
    return place / "perfect"


def test_table_and_csv(cli, predictions):
    outcome = cli("evaluate", "perfect/skin", "skin/labelsTs")
    assert outcome.code == 0 and "100.00" in outcome.out and "class 2" in outcome.out
    assert "every case: perfect/skin/scores.csv" in outcome.out
    rows = list(csv.DictReader((predictions / "skin/scores.csv").open()))
    assert len(rows) == 4 and {float(row["dice"]) for row in rows} == {1.0}


def test_json_units_and_output_folder(cli, predictions, place):
    words = ["evaluate", "perfect/heart", "heart/labelsTs", "--unit", "voxel", "--nsd", "1", "--output", "scores"]
    values = json.loads(cli(*words, "--json").out)
    assert values["classes"]["class 1"]["metrics"]["dice"]["mean"] == 1
    assert values["classes"]["class 1"]["metrics"]["hd95"]["mean"] == 0 and values["unit"] == "voxel"
    assert json.loads((place / "scores/summary.json").read_text()) == values


def test_run_lends_its_class_names_to_references_without_any(cli, runs, place, predictions):
    shutil.copytree(place / "skin/labelsTs", place / "bare/labels")
    shutil.copytree(predictions / "skin", runs / "skin/predictions", dirs_exist_ok=True)
    assert "class 2" in cli("evaluate", "runs/skin/predictions", "bare/labels").out
    assert "class_2" in cli("evaluate", "perfect/skin", "bare/labels", "--overwrite").out


def test_unit_is_that_of_the_run_unless_given(cli, runs, predictions):
    shutil.copytree(predictions / "heart", runs / "voxels/predictions")
    shutil.copy(runs / "heart/dataset.json", runs / "voxels")
    (runs / "voxels/config.yaml").write_text("evaluation: {unit: voxel, nsd_tolerance: 2}\n")
    words = ["evaluate", "runs/voxels/predictions", "heart/labelsTs", "--json"]
    values = json.loads(cli(*words).out)
    assert values["unit"] == "voxel" and "nsd@2" in values["mean"]["metrics"]
    assert json.loads(cli(*words, "--unit", "mm", "--overwrite").out)["unit"] == "mm"


def test_missing_predictions_are_refused_or_counted(cli, place, predictions):
    shutil.copytree(predictions / "heart", place / "half")
    (place / "half/test_001.nii.gz").unlink()
    outcome = cli("evaluate", "half", "heart/labelsTs")
    assert outcome.code == 1 and "half: has no prediction of 1 case: test_001" in outcome.err
    values = json.loads(cli("evaluate", "half", "heart/labelsTs", "--allow-missing", "--json").out)
    assert values["classes"]["class 1"]["missed"] == 1
    assert values["classes"]["class 1"]["metrics"]["dice"]["mean"] == 0.5


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["perfect/heart", "nowhere"], 1, "nowhere"),
        (["nowhere", "heart/labelsTs"], 1, "nowhere"),
        (["perfect/heart", "heart/labelsTs/test_000.nii.gz"], 1, "one is a folder, the other a file"),
        (["heart/labelsTs/test_000.nii.gz", "skin/labelsTs/test_000.png"], 1, "heart/labelsTs/test_000.nii.gz"),
        (["perfect/heart", "heart/labelsTs", "--nsd", "-1"], 2, "tolerance is -1"),
    ],
)
def test_wrong_words(cli, predictions, words, code, text):
    outcome = cli("evaluate", *words)
    assert outcome.code == code and outcome.err.startswith("error: ") and text in outcome.err, outcome
    assert outcome.out == "" and len(outcome.err.splitlines()) == 1
