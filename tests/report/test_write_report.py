import json
import re
import shutil

import pytest

from fewmask.errors import RunError
from fewmask.report.data import read_runs
from fewmask.report.html import write_report
from fewmask.report.tables import score_groups
from helpers import write_dataset
from report.fake_runs import write_run
from report.pages import read


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("volumes"), cases=5, test=4, unlabelled=2, classes=3)


@pytest.fixture(scope="module")
def three_runs(volumes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    methods = (("supervised", 3), ("mean-teacher", 2), ("cps", 1))
    return [write_run(folder / method, volumes, method, shift) for method, shift in methods]


def test_one_run_has_scores_plots_pictures_curves_and_config(three_runs, tmp_path):
    page = read(write_report(three_runs[:1], tmp_path / "new" / "report.html"))
    for words in (
        "supervised on Blobs",
        "3D segmentation of class 1, class 2",
        "Worst",
        "Median",
        "Best",
        "all classes",
    ):
        assert words in page.text
    assert "Validation Dice, %" in page.text
    assert "iterations: 60" in page.text  # the config
    assert page.tags.count("image") == 3
    assert "labelled 2" in page.text and "case_00" in page.text


def test_three_runs_are_compared_and_share_the_scans(three_runs, tmp_path):
    page = read(write_report(three_runs, tmp_path / "report.html"))
    assert "supervised, mean-teacher and cps on Blobs" in page.text
    # Three cases, three runs: nine pictures, but each scan is stored once.
    assert (page.tags.count("image"), page.tags.count("use") >= 6) == (3, True)
    html = (tmp_path / "report.html").read_text()
    assert 'class="best"' not in html  # four cases are too few for any test
    assert 'class="prediction on-dark-2"' in html


def test_two_runs_are_compared_case_by_case(three_runs, tmp_path):
    page = read(write_report([three_runs[0], three_runs[2]], tmp_path / "report.html"))
    assert re.search(
        r"cps has a higher Dice than supervised in 4 of 4 cases; its mean is \d+\.\d points higher \(too few cases",
        page.text,
    )


def test_bold_and_the_verdict_ask_a_test(tmp_path):
    root = write_dataset(tmp_path / "data", dims=2, cases=4, test=7)
    shifts = {"far": 9, "near": 1, "alike": 1}
    runs = read_runs([write_run(tmp_path / name, root, shift=shift) for name, shift in shifts.items()])
    for chosen, bold in ((runs[:2], ["near"]), (runs[1:], []), (runs, ["near", "alike"])):
        (group,) = score_groups(chosen)
        assert [row.head for row in group.rows if all(cell.best for cell in row.cells)] == bold
        assert not [row.head for row in group.rows if any(cell.best for cell in row.cells) and row.head not in bold]
    page = write_report([runs[0].path, runs[1].path], tmp_path / "report.html")
    assert "(Wilcoxon over cases: p = 0.016, significant)" in " ".join(read(page).text.split())


def test_headline_is_the_mean_of_the_evaluation(three_runs, tmp_path):
    summary = json.loads((three_runs[1] / "predictions" / "summary.json").read_text())
    page = read(write_report(three_runs[1:2], tmp_path / "report.html"))
    assert f"{100 * summary['mean']['metrics']['dice']['mean']:.1f} ± " in page.text
    assert f"{summary['classes']['class 2']['metrics']['hd95']['mean']:.2f} ± " in page.text


def test_bitmaps_in_colour(tmp_path):
    root = write_dataset(tmp_path / "data", dims=2, channels=3, cases=4, test=2, unlabelled=1)
    page = read(write_report([write_run(tmp_path / "run", root)], tmp_path / "report.html"))
    assert "2D segmentation" in page.text and "axial" not in page.text
    assert "Worst" in page.text and "Median" not in page.text
    assert page.tags.count("image") == 2


def test_a_run_without_scores_or_curves_still_has_a_report(volumes, tmp_path):
    run = write_run(tmp_path / "run", volumes, scored=False)
    page = read(write_report([run], tmp_path / "report.html"))
    assert "run is not scored" in page.text and "Total loss" in page.text and "image" not in page.tags
    (run / "metrics.csv").unlink()
    page = read(write_report([run], tmp_path / "report.html"))
    assert "Nothing was logged yet" in page.text and "0 of 60 iterations" in page.text


def test_a_moved_data_set_leaves_the_pictures_out(tmp_path):
    root = write_dataset(tmp_path / "data", cases=4, test=2)
    run = write_run(tmp_path / "run", root)
    shutil.move(root, tmp_path / "elsewhere")
    page = read(write_report([run], tmp_path / "report.html"))
    assert f"the scans are no longer at {root}" in page.text
    assert "image" not in page.tags and "HD95, mm" in page.text


def test_a_missing_prediction_is_said(tmp_path):
    root = write_dataset(tmp_path / "data", cases=4, test=2)
    run = write_run(tmp_path / "run", root)
    (run / "predictions" / "test_000.nii.gz").unlink()
    assert "no prediction file" in read(write_report([run], tmp_path / "report.html")).text


def test_names_are_escaped_everywhere(tmp_path):
    evil = "<script>alert('$x_1$ & ]]>')</script>"
    root = write_dataset(tmp_path / "data", cases=4, test=2, name=evil)
    description = (root / "dataset.json").read_text().replace("class 1", "a < b & <i>c</i>")
    (root / "dataset.json").write_text(description)
    runs = [write_run(tmp_path / name, root) for name in ("<b>one & $x$", "two&amp;")]
    page = read(write_report(runs, tmp_path / "report.html", title=evil, notes=[evil]))
    assert page.text.count(evil) >= 3
    for words in ("<b>one & $x$", "two&amp;", "a < b & <i>c</i>"):
        assert words in page.text
    raw = (tmp_path / "report.html").read_text()
    assert not re.search(r"<script|<i>c|<b>one|two&amp;(?!amp;)", raw)


def test_what_makes_scores_doubtful_is_said(volumes, three_runs, tmp_path):
    other = write_dataset(tmp_path / "other", cases=4, test=1, name="Other")
    run = write_run(tmp_path / "run", other, validation=0, iterations=20)
    text = read(write_report([three_runs[0], run], tmp_path / "report.html")).text
    assert "different data sets: their scores cannot be compared" in text
    assert 'class="best"' not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.yaml", None, "is not a run folder"),
        ("config.yaml", "train: {iteration: 5}", "unknown key"),
        ("split.json", "{}", "split.json"),
        ("split.json", None, "split.json"),
        ("environment.json", "[]", "environment.json"),
        ("dataset.json", "{}", "dataset.json"),
        ("task.json", "[1]", "task.json"),
        ("metrics.csv", "iteration,loss\n1,abc\n", "metrics.csv"),
        ("predictions/scores.csv", None, "scores.csv is missing"),
        ("predictions/scores.csv", "case,class\na,b\n", "scores.csv"),
        ("predictions/scores.csv", "case,class,status,dice\na,b,found,nan\n", "scores.csv"),
        ("predictions/summary.json", "{}", "summary.json"),
        ("predictions/summary.json", '{"classes": {}, "mean": {}}', "summary.json"),
    ],
)
def test_an_odd_file_is_one_clear_error(three_runs, tmp_path, file, content, words):
    run = shutil.copytree(three_runs[0], tmp_path / "run")
    if content is None:
        (run / file).unlink()
    else:
        (run / file).write_text(content)
    with pytest.raises(RunError, match=re.escape(words)) as caught:
        write_report([run], tmp_path / "report.html")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_wrong_arguments_are_clear_errors(three_runs, tmp_path):
    for runs, output, words in [
        ([], tmp_path / "r.html", "at least one run"),
        ([three_runs[0], three_runs[0]], tmp_path / "r.html", "given 2 times"),
        (three_runs[:1], tmp_path, "is a folder"),
        ([tmp_path / "nowhere"], tmp_path / "r.html", "is not a run folder"),
    ]:
        with pytest.raises(RunError, match=words):
            write_report(runs, output)


def test_runs_of_one_name_are_told_apart(volumes, tmp_path):
    runs = [write_run(tmp_path / seed / "cps", volumes, "cps") for seed in ("seed-0", "seed-1")]
    text = read(write_report(runs, tmp_path / "report.html")).text
    assert "seed-0/cps" in text and "seed-1/cps" in text
