"""The report's files: a page without a network, Markdown whose figures are there, LaTeX, csv."""

import csv
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from bench.fake_bench import write_bench
from fewmask.bench.jobs import Place, expand
from fewmask.bench.report.find import runs_below, runs_of_suite
from fewmask.bench.report.markdown import without_folders
from fewmask.bench.report.write import report_comparison, write_bench_report
from fewmask.bench.suite_files import find_suite
from fewmask.config import MethodSection
from fewmask.errors import ConfigError, RunError
from fewmask.methods import method_config
from fewmask.run_folder import RunFolder
from fewmask.whole import read_whole, write_whole
from helpers import edit_json, write_dataset
from program import call_main
from report.fake_runs import write_run
from report.pages import read

CASES = 7
EVIL = "a<b>&c"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Dataset001_Blobs"
    return write_dataset(folder, dims=2, cases=4, test=CASES, name=EVIL)


@pytest.fixture(scope="module")
def output(root, tmp_path_factory):
    """Two settings, four labels, one seed; one run without scores."""
    folder = tmp_path_factory.mktemp("bench")
    write_bench(folder, root, CASES, amounts=(2, 3), seeds=(0,))
    more = write_bench(folder, root, CASES, labels=("supervised",), seeds=(1,))
    (more[0].path / "predictions" / "summary.json").unlink()
    edit_json(folder / "data/2/cps-seed0/split.json", shortcuts=["reference-crop"])
    return folder


@pytest.fixture(scope="module")
def report(output):
    write_bench_report(runs_below(output).runs, output / "report", baseline="supervised")
    return output / "report"


def test_the_page_needs_nothing_else_and_says_it_all_in_order(report):
    page = read(report / "report.html")
    order = [
        "What came out",
        "Scores",
        "How much a label is worth",
        "Case by case",
        "Ranks and critical differences",
        "Cost against Dice",
        "Worst, median and best case",
        "Training",
        "Protocol and shortcuts",
        "To repeat it",
    ]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places)
    assert "cps (+" in page.text and "beats supervised significantly" in page.text
    assert "1 of 7 runs have no scores yet and are left out: 2/supervised-seed1" in page.text
    assert "every scan, test scans included, is cut around its reference" in page.text
    assert "critical difference" in page.text and "iterations: 8" in page.text


def test_pictures_share_the_scan_and_show_where_the_border_is_off(report):
    html, page = (report / "report.html").read_text(), read(report / "report.html")
    assert page.tags.count("image") == 2 * 3  # settings x cases, each scan once
    assert len(re.findall(r'<svg class="scan"', html)) == 2 * 3 * 3 * 2  # and methods x overlay and border
    assert html.count('class="error-') > 30
    assert "pixels or more inside" in page.text


def test_markdown_and_its_figures(report):
    text = (report / "report.md").read_text()
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert {path.relative_to(report).as_posix() for path in (report / "figures").iterdir()} == {*links}
    assert len(links) == 2 + 4 + 2 + 2 + 6
    for link in links:
        if link.endswith(".svg"):
            ElementTree.parse(report / link)
            drawn = (report / link).read_text()
            assert "var(" not in drawn and not re.search(r'(href|src)="(?!#)', drawn) and "#0072b2" in drawn
        else:
            with Image.open(report / link) as picture:
                assert picture.format == "JPEG" and picture.width > 400
    assert not re.search(r"https?://", text) and EVIL not in text and "a&lt;b>&c" in text
    tables = [block for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) >= 6
    for table in tables:
        assert len({line.count("|") for line in table.strip().splitlines()}) == 1
    assert re.search(r"\| cps \| \*\*\d\d\.\d\*\*<br><sub>", text) and not re.search(r"\| supervised \| \*\*", text)


def test_latex(report):
    text = (report / "report.tex").read_text()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") >= 6
    for table in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        lines = [line for line in table[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(table[0]) - 1}
    assert r"\textbf{" in text and not re.search(r"(?<!\\)%(?! needs)", text)


def test_csv(report):
    for name in ("summary.csv", "cases.csv", "tests.csv"):
        with (report / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows and all(None not in row and None not in row.values() for row in rows)


def test_writing_again_leaves_no_old_figures_and_nothing_of_others(report, output, tmp_path):
    folder = shutil.copytree(report, tmp_path / "report")
    (folder / "figures" / "mine.svg").write_text("mine")
    found = [run for run in runs_below(output).runs if run.path.parent.name == "2" and run.label != "half-cps"]
    write_bench_report(found, folder, pictures=False)
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {"mine.svg", "setting0-cases-dice.svg", "setting0-cases-hd95.svg", "setting0-cost.svg"}
    assert "image" not in read(folder / "report.html").tags


def test_several_classes_and_a_moved_data_set(tmp_path):
    root = write_dataset(tmp_path / "data", dims=2, cases=4, test=6, classes=3)
    for label, shift in (("supervised", 4), ("cps", 1)):
        write_run(tmp_path / "bench" / f"{label}-seed0", root, label, shift)
    shutil.move(root, tmp_path / "elsewhere")
    write_bench_report(runs_below(tmp_path / "bench").runs, tmp_path / "report")
    text = read(tmp_path / "report" / "report.html").text
    assert "Class by class" in text and "class 2, Dice, %" in text
    assert "the scans are no longer at" in text


def begin(suite, output, blobs):
    """The first job, as it stands when its training has begun."""
    job = expand(suite, output)[0]
    made = RunFolder(write_run(output / "made", blobs))
    method = MethodSection(name="supervised", **method_config(job.experiment.method).model_dump(mode="json"))
    experiment = job.experiment.model_copy(update={"method": method})
    RunFolder(job.folder).create(experiment, made.task(), made.split(), made.dataset())
    return job


def test_a_suite_whose_baseline_is_not_done_is_reported_all_the_same(output, tmp_path, monkeypatch, write_suite):
    suite = find_suite(str(write_suite()))
    jobs = [
        SimpleNamespace(
            folder=run.path,
            place=Place("data", "2", run.label, 0),
            check_same=lambda: None,
            scored=True,
            summary=run.path,
        )
        for run in runs_below(output).runs
        if run.label == "cps"
    ]
    monkeypatch.setattr("fewmask.bench.report.write.open_suite", lambda name, folder: (suite, tmp_path))
    monkeypatch.setattr("fewmask.bench.report.find.expand", lambda suite, folder: jobs)
    report_comparison("small.yaml", pictures=False)
    text = (tmp_path / "report/report.md").read_text()
    assert "The baseline of the suite, supervised, has no scores yet." in text
    with pytest.raises(ConfigError, match="no run is called 'supervised'"):
        report_comparison("small.yaml", baseline="supervised", pictures=False)


def test_runs_that_lack_a_metric_are_left_out(write_suite, tmp_path, blobs):
    path = write_suite(methods=["supervised"], seeds=[0], blobs={"labelled": [2]}, also="hd_rowset")
    suite, output = find_suite(str(path)), tmp_path / "out"
    job = begin(suite, output, blobs)
    job.summary.parent.mkdir()
    job.summary.write_text('{"mean": {"metrics": {"dice": {}}}}')
    found = runs_of_suite(suite, output)
    assert found.runs == () and found.remarks[0].endswith("scored without hd_rowset; bench run scores it again.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fewmask train /data/My_Set --output=/x/y/z/", "fewmask train My_Set --output=z"),
        ("then 'C:\\Users\\me\\set' now, [/a/b.yaml] (/c/d.yaml)", "then 'set' now, [b.yaml] (d.yaml)"),
        ("la/paper, and/or <br><sub>x</sub> https://a.b/c ../up ~/home sqrt((n - 1)/n)", None),
    ],
)
def test_absolute_paths_are_cut(text, told):
    assert without_folders(text) == (told or text)


def test_markdown_tells_nothing_of_the_machine(output, root, tmp_path):
    """Neither the suite, nor remarks, settings, commands and what could not be shown."""
    runs = [run for run in runs_below(output).runs if run.path.parent.name == "3"]
    copies = [replace(run, path=Path(shutil.copytree(run.path, tmp_path / run.path.name))) for run in runs]
    config = copies[0].path / "config.yaml"
    write_whole(config, read_whole(config).replace("method:\n", f"method:\n  pretrained: {tmp_path}/first-seed0\n"))
    for copy in copies:
        edit_json(copy.path / "dataset.json", root=str(tmp_path / "gone"))
        edit_json(
            copy.path / "environment.json", command=["/usr/bin/fewmask", "train", str(root), "--output", str(copy.path)]
        )
    edit_json(copies[1].path / "environment.json", command=["/usr/lib/fewmask/bench/work.py", str(copies[1].path)])
    remark = (
        f"one is left out: {tmp_path}/x-seed0 was started with other settings: method.pretrained ('{tmp_path}/a' then)."
    )
    suite = f"data:\n  blobs:\n    dataset: {root}\n    recipe: [{tmp_path}/mine.yaml]\n"
    texts = {}
    for name, shown in (("suite", suite), ("none", None)):
        write_bench_report(copies, tmp_path / name, suite=shown, remarks=[remark])
        texts[name] = (tmp_path / name / "report.md").read_text()
        assert not re.search(r"(?<![\w.<:/])/\w", texts[name]) and tmp_path.parent.name not in texts[name]
        assert "x-seed0 was started with other settings" in texts[name] and "no longer at gone" in texts[name]
        assert "method.pretrained=first-seed0" in texts[name]
    assert f"dataset: {root.name}\n    recipe: [mine.yaml]" in texts["suite"]
    assert f"fewmask train {root.name} --output cps-seed0" in texts["none"] and "work.py" not in texts["none"]


def test_a_suite_tells_what_has_not_begun_and_leaves_out_what_is_other(write_suite, tmp_path, blobs):
    suite, output = find_suite(str(write_suite(methods=["supervised"], seeds=[0]))), tmp_path / "out"
    assert runs_of_suite(suite, output).runs == ()
    assert runs_of_suite(suite, output).remarks == ("2 of 2 runs of the suite have not begun.",)
    job = begin(suite, output, blobs)
    found = runs_of_suite(suite, output)
    assert [(run.path, run.label, run.data) for run in found.runs] == [(job.folder, "supervised", "blobs")]
    config = job.folder / "config.yaml"
    write_whole(config, read_whole(config).replace("width: 2", "width: 3"))
    found = runs_of_suite(suite, output)
    assert found.runs == () and found.remarks[0] == "1 of 2 runs of the suite have not begun."
    assert found.remarks[1].startswith("blobs/2/supervised-seed0 is left out:") and "network.width" in found.remarks[1]


class TestVerb:
    def test_a_folder_of_run_folders(self, output, tmp_path):
        done = call_main(
            "bench", "report", output / "data", "--to", "here", "--no-pictures", "--level", "0.9", cwd=tmp_path
        )
        assert done.code == 0, done.err
        assert (tmp_path / "here" / "report.md").is_file() and "report: here/report.html" in done.out
        assert "the 90\u00a0% interval" in (tmp_path / "here" / "report.md").read_text()

    @pytest.mark.parametrize(
        ("words", "code", "says"),
        [
            (["--baseline", "cpss"], 2, "did you mean 'cps'"),
            (["--level", "95"], 2, "must lie between 0 and 1"),
            (["--to", "file"], 1, "is a file"),
        ],
    )
    def test_what_is_wrong_is_said(self, output, tmp_path, words, code, says):
        (tmp_path / "file").write_text("")
        done = call_main("bench", "report", output / "data", *words, cwd=tmp_path)
        assert (done.code, says in done.err) == (code, True), done.err

    def test_nothing_to_report(self, tmp_path):
        (tmp_path / "empty").mkdir()
        done = call_main("bench", "report", "empty", cwd=tmp_path)
        assert done.code == 1 and "holds no run folder" in done.err
        with pytest.raises(RunError):
            runs_below(tmp_path)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_has_nothing_to_complain_of(report, tmp_path):
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--enable-logging=stderr"]
    words += ["--dump-dom", (report / "report.html").as_uri()]
    done = subprocess.run([CHROMIUM, *words], capture_output=True, text=True, timeout=100, check=False)
    assert "What came out" in done.stdout
    assert ":CONSOLE" not in done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_on_paper_what_is_folded_is_unfolded(tmp_path):
    """A folded block that is three pages high makes pages; without the page's style there would be one."""
    style = (resources.files("fewmask.report") / "templates" / "report.css").read_text(encoding="utf-8")
    block = '<div style="height: 3000px">folded</div>'
    page, target = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(f"<style>{style}</style><details><summary>more</summary>{block}</details>")
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    subprocess.run(
        [CHROMIUM, *words, f"--print-to-pdf={target}", page.as_uri()], capture_output=True, timeout=100, check=False
    )
    assert len(re.findall(rb"/Type\s*/Page\b", target.read_bytes())) >= 3
