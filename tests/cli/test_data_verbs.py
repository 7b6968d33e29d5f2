import json
import shutil

import numpy as np
import pytest
from PIL import Image

from helpers import edit_json, write_dataset


@pytest.fixture(scope="module")
def broken(place):
    """A data set with an empty file and a label of the wrong size."""
    root = write_dataset(place / "broken", cases=3, dims=2)
    (root / "imagesTr/case_000_0000.png").write_bytes(b"")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(root / "labelsTr/case_001.png")
    return root


def test_check_passes_a_good_data_set_and_suggests_a_budget_that_it_has(cli):
    outcome = cli("check", "skin")
    assert outcome.code == 0 and outcome.next == ["split", "skin", "--labelled", "2"]


def test_check_reports_all_findings_and_exits_1(cli, broken):
    outcome = cli("check", "broken")
    assert outcome.code == 1
    assert "case_000_0000.png" in outcome.out and "case_001.png" in outcome.out and "next:" not in outcome.out


def test_check_as_json(cli, broken):
    outcome = cli("check", "broken", "--json")
    values = json.loads(outcome.out)
    assert outcome.code == 1 and outcome.err == ""
    assert {finding["case"] for finding in values["findings"] if finding["severity"] == "error"} == {
        "case_000",
        "case_001",
    }


def test_check_draws_thumbnails(cli, place):
    outcome = cli("check", "skin", "--thumbnails", "thumbnails")
    assert outcome.code == 0 and "thumbnails/index.png" in outcome.out
    assert len(list((place / "thumbnails").glob("*.png"))) == 8  # seven scans and the index


@pytest.mark.parametrize(("amount", "count"), [("2", 2), ("0.5", 2), ("25%", 1), ("1", 1), ("1.0", 4)])
def test_split_by_number_and_share(cli, place, amount, count):
    outcome = cli("split", "skin", "--labelled", amount, "--name", "s", "--replace", "--json")
    values = json.loads(outcome.out)
    assert outcome.code == 0 and len(values["labelled"]) == count
    assert len(values["unlabelled"]) == 5 - count and values["test"] == ["test_000", "test_001"]
    saved = json.loads((place / "skin/splits.json").read_text())["splits"]["s"]
    assert saved == {key: value for key, value in values.items() if key != "name"}


def test_split_takes_validation_from_the_budget_and_names_itself(cli):
    outcome = cli("split", "skin", "--labelled", "3", "--val", "1", "--seed", "5")
    assert "saved as 'labelled3-val1-seed5' in skin/splits.json" in outcome.out
    assert outcome.out.splitlines()[1].split()[:2] == ["validation", "1"]
    assert outcome.next[2:6] == ["--split", "labelled3-val1-seed5", "--method", "ua-mt"]


def test_split_suggests_supervised_where_nothing_is_unlabelled(cli, place):
    write_dataset(place / "all", cases=2, dims=2)
    assert "supervised" in cli("split", "all").next


def test_split_ordered_takes_the_published_order(cli):
    values = json.loads(cli("split", "skin", "--labelled", "3", "--ordered", "--json").out)
    assert values["labelled"] == ["case_002", "case_000", "case_003"] and values["seed"] is None


def test_split_keeps_patients_together(cli, place):
    write_dataset(place / "pairs", cases=4, dims=2)
    edit_json(place / "pairs/dataset.json", patients={f"case_00{n}": f"p{n // 2}" for n in range(4)})
    for seed in range(4):
        values = json.loads(cli("split", "pairs", "--labelled", "2", "--seed", seed, "--json").out)
        assert sorted(values["labelled"]) in (["case_000", "case_001"], ["case_002", "case_003"])


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["split", "skin", "--labelled", "lots"], 2, "--labelled 'lots': give a number"),
        (["split", "skin", "--labelled", "0"], 2, "labelled is 0"),
        (["split", "skin", "--labelled", "-1"], 2, "--labelled '-1': give a number"),
        (["split", "skin", "--labelled", "nan"], 2, "--labelled 'nan': give a number"),
        (["split", "skin", "--labelled", "150%"], 2, "--labelled '150%': give a number"),
        (["split", "skin", "--labelled", "40"], 1, "only 4 training cases have labels"),
        (["split", "skin", "--labelled", "2", "--val", "2"], 1, "leaves none to train on"),
        (["split", "heart", "--labelled", "2", "--ordered"], 1, 'heart/dataset.json: has no "training_order"'),
        (["split", "skin", "--patients", "("], 2, "is not a regular expression"),
        (["split", "skin", "--patients", "x(.)"], 2, "does not fit the case id 'case_000'"),
        (["split", "nowhere"], 1, "nowhere: is not a folder"),
        (["split", "skin/imagesTr"], 1, "skin/imagesTr/dataset.json: is missing"),
        (["check", "nowhere"], 1, "nowhere: is not a folder"),
    ],
)
def test_wrong_words_are_one_line_that_says_what_to_do(cli, words, code, text):
    outcome = cli(*words)
    assert outcome.code == code and outcome.out == ""
    assert outcome.err.startswith("error: ") and text in outcome.err and len(outcome.err.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_an_error_without_traceback(cli, place, monkeypatch):
    shutil.copytree(place / "skin", place / "readonly")

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied", "readonly/splits.json")

    monkeypatch.setattr("fewmask.data.split_file.write_json", refuse)
    outcome = cli("split", "readonly")
    text = "error: readonly/splits.json: Permission denied; check the path, space and rights\n"
    assert (outcome.code, outcome.err) == (1, text)
