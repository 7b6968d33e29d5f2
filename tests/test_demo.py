"""The demo on a handful of small scans: the whole way, in seconds."""

import json
import shutil

import pytest

import fewmask.demo as module
from fewmask.data.phantom import Phantom
from fewmask.errors import RunError


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder, lines = tmp_path_factory.mktemp("demo") / "out", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCANS", {"train": 2, "unlabelled": 2, "test": 2})
        patch.setattr(module, "Phantom", lambda: Phantom(shape=(32, 32, 32)))
        yield folder, lines, module.run_demo(folder, iterations=2, say=lines.append)


def test_every_method_leaves_a_run_with_scores(result):
    folder, _, _ = result
    for method in module.METHODS:
        summary = json.loads((folder / method / "predictions/summary.json").read_text())
        assert summary["cases"] == 2 and 0 <= summary["mean"]["metrics"]["dice"]["mean"] <= 1


def test_methods_differ_in_the_unlabelled_scans_alone(result):
    folder, _, _ = result
    splits = [json.loads((folder / method / "split.json").read_text()) for method in module.METHODS]
    assert splits[0] == splits[1] and len(splits[0]["labelled"]) == 2 and len(splits[0]["unlabelled"]) == 2


def test_report_is_one_page_that_says_the_scans_are_synthetic(result):
    folder, _, outcome = result
    assert outcome.report == folder / "report.html"
    text = outcome.report.read_text(encoding="utf-8")
    assert "synthetic" in text and "https://" not in text.split("<body")[0]


def test_verdict_and_table_give_the_same_numbers(result):
    folder, lines, outcome = result
    dice = [
        100 * json.loads((folder / m / "predictions/summary.json").read_text())["mean"]["metrics"]["dice"]["mean"]
        for m in module.METHODS
    ]
    assert f"Dice {dice[1]:.1f} %" in outcome.verdict and f"({dice[1] - dice[0]:+.1f})" in outcome.verdict
    assert outcome.table.row_count == 6 and any("2 labelled, 2 unlabelled and 2 test scans" in line for line in lines)


def test_existing_folder_is_refused(result, tmp_path):
    with pytest.raises(RunError, match="exists already"):
        module.run_demo(result[0])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        module.run_demo(tmp_path)


def test_another_demo_that_was_stopped_is_refused(result, tmp_path):
    shutil.copy(result[0] / "demo.json", tmp_path)
    with pytest.raises(RunError, match="exists already"):
        module.run_demo(tmp_path, iterations=3)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
