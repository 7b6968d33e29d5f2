"""The way of a newcomer, each step typed as the step before says, with the real program."""

import csv
import json

import nibabel
import numpy as np
import pytest

from helpers import write_dataset

SMALL = {"train.iterations": 2, "sampling.workers": 0, "network.width": 2, "sampling.patch_size": [16, 16, 16]}


@pytest.fixture(scope="module")
def steps(tmp_path_factory, program):
    """Every outcome from check to evaluate; a step's words are those that the last line of the one before suggests."""
    place = tmp_path_factory.mktemp("newcomer")
    write_dataset(place / "Dataset001 Heart", cases=4, unlabelled=1, test=2)
    outcomes, words = {}, ["check", "Dataset001 Heart"]
    while words[0] != "report":
        outcomes[words[0]] = outcome = program(*words, cwd=place)
        assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
        words = outcome.next
        if words[0] == "train":
            words += [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    return place, outcomes


def test_each_step_suggests_the_next(steps):
    assert list(steps[1]) == ["check", "split", "train", "predict", "evaluate"]


def test_results_go_to_standard_output_and_progress_to_standard_error(steps):
    outcomes = steps[1]
    assert "iteration 2/2" in outcomes["train"].err and "iteration" not in outcomes["train"].out
    assert not any(outcome.err for verb, outcome in outcomes.items() if verb != "train")


def test_run_folder_is_complete(steps):
    place, outcomes = steps
    run = place / outcomes["train"].next[1]
    names = ["config.yaml", "environment.json", "split.json", "dataset.json", "task.json", "metrics.csv"]
    assert [name for name in names if not (run / name).is_file()] == []
    assert [row["iteration"] for row in csv.DictReader((run / "metrics.csv").open())] == ["2"]
    assert len(json.loads((run / "split.json").read_text())["labelled"]) == 2


def test_label_maps_lie_on_the_scans(steps):
    place, outcomes = steps
    folder = place / outcomes["predict"].next[1]
    for name in ("test_000", "test_001"):
        scan = nibabel.load(place / f"Dataset001 Heart/imagesTs/{name}_0000.nii.gz")
        labels = nibabel.load(folder / f"{name}.nii.gz")
        assert labels.shape == scan.shape and labels.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(labels.affine, scan.affine)


def test_scores_are_written(steps):
    place, outcomes = steps
    folder = place / outcomes["predict"].next[1]
    rows = list(csv.DictReader((folder / "scores.csv").open()))
    assert [row["case"] for row in rows] == ["test_000", "test_001"]
    assert "class 1" in outcomes["evaluate"].out and "Dice" in outcomes["evaluate"].out


def test_program_reports_errors_in_one_line(steps, program):
    outcome = program("predict", "nowhere", "imagesTs", "out", cwd=steps[0])
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: nowhere is not a run folder") and len(outcome.err.splitlines()) == 1


def test_debug_shows_the_traceback(steps, program):
    outcome = program("--debug", "split", "nowhere", cwd=steps[0])
    assert outcome.code == 1 and "Traceback" in outcome.err and "DataError: nowhere" in outcome.err
