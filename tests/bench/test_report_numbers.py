"""What the report says is what numpy and scipy say of the same scores, and no more than the tests allow."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench.fake_bench import dice_of, put_scores, write_bench
from fewmask.bench.case_scores import Setting
from fewmask.bench.report.content import BenchRun, read_bench
from fewmask.bench.report.grids import comparison_grid, interval_grid, score_grid, setting_grid
from fewmask.bench.report.markdown import to_report_markdown
from fewmask.bench.report.page import to_html
from fewmask.bench.report.records import csv_files
from fewmask.bench.report.shown import _protocol, prepare
from fewmask.bench.report.theirs import published_tables
from fewmask.bench.report.verdict import overall, verdict
from fewmask.bench.report.write import to_tex
from fewmask.bench.statistics import compare
from fewmask.bench.tables import signed
from fewmask.config import MethodSection, load_experiment
from fewmask.data.protocols.shelf import protocol_settings
from fewmask.errors import ConfigError, RunError
from fewmask.run_folder import RunFolder
from fewmask.whole import read_whole, write_whole
from helpers import edit_json, write_dataset

CASES = 9
LABELS = ("supervised", "cps", "half-cps")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "Dataset001_Blobs", dims=2, cases=4, test=CASES)


@pytest.fixture(scope="module")
def bench(root, tmp_path_factory):
    return read_bench(write_bench(tmp_path_factory.mktemp("bench"), root, CASES, amounts=(2, 3)))


@pytest.fixture
def section(bench):
    return bench.sections[0]


def known(label, labelled=2):
    return np.array([dice_of(label, seed, CASES, labelled) for seed in (0, 1)])


def rows_of(text, **fixed):
    rows = list(csv.DictReader(io.StringIO(text)))
    return [row for row in rows if fixed.items() <= row.items()]


@pytest.mark.parametrize("label", LABELS)
def test_summary(bench, label):
    text = csv_files(bench)["summary.csv"]
    (row,) = rows_of(text, labelled="2", method=label, metric="dice")
    values = known(label)
    seeds, cases = values.mean(axis=1), values.mean(axis=0)
    assert float(row["mean"]) == pytest.approx(values.mean())
    assert float(row["std_seeds"]) == pytest.approx(np.std(seeds, ddof=1))
    assert float(row["std_cases"]) == pytest.approx(np.std(cases, ddof=1))
    low, high = stats.t.interval(0.9, 1, seeds.mean(), stats.sem(seeds))
    assert (float(row["low_90_seeds"]), float(row["high_90_seeds"])) == pytest.approx((low, high))
    boot = stats.bootstrap((cases,), np.mean, random_state=np.random.default_rng(0)).confidence_interval
    assert (float(row["low_95_cases"]), float(row["high_95_cases"])) == pytest.approx(tuple(boot))
    assert (row["seeds"], row["cases"], row["absent"], row["bold"]) == ("2", str(CASES), "0", str(label == "cps"))


def test_every_score_of_every_case_and_seed_is_kept(bench):
    rows = rows_of(csv_files(bench)["cases.csv"], labelled="3", method="cps", seed="1", metric="dice")
    assert [row["case"] for row in rows] == [f"test_{number:03d}" for number in range(CASES)]
    np.testing.assert_allclose([float(row["value"]) for row in rows], dice_of("cps", 1, CASES, 3))


def test_tests_against_the_baseline_are_wilcoxons_with_holms_correction(bench):
    rows = rows_of(csv_files(bench)["tests.csv"], labelled="2", metric="dice", against="baseline")
    differences = {label: known(label).mean(axis=0) - known("supervised").mean(axis=0) for label in LABELS[1:]}
    p = {label: stats.wilcoxon(values).pvalue for label, values in differences.items()}
    assert p["cps"] < 0.025 and p["half-cps"] > 0.05
    holm = {"cps": min(1, 2 * p["cps"]), "half-cps": max(2 * p["cps"], p["half-cps"])}
    for row in rows:
        label = row["first"]
        assert float(row["p"]) == pytest.approx(p[label]) and float(row["p_holm"]) == pytest.approx(holm[label])
        assert float(row["difference"]) == pytest.approx(differences[label].mean())
        assert row["winner"] == ("cps" if label == "cps" else "")
    assert (
        len(rows) == 2 and len(rows_of(csv_files(bench)["tests.csv"], labelled="2", metric="dice", against="all")) == 3
    )


def test_bold_is_what_is_significant_and_nothing_else(section):
    grid = score_grid(section)
    assert grid.heads == ("method", "Dice, %", "Jaccard, %", "HD95, voxel", "ASD, voxel", "seeds", "training")
    assert [row[0].text for row in grid.rows] == list(LABELS)
    assert {row[0].text for row in grid.rows if any(cell.bold for cell in row)} == {"cps"}
    values = known("cps")
    spread = np.std(values.mean(axis=1), ddof=1)
    assert grid.rows[1][1].text == f"{100 * values.mean():.1f} ± {100 * spread:.1f}"
    assert grid.rows[1][3].text.startswith(f"{20 * (1 - values.mean()):.2f} ± ")


def test_without_a_significant_difference_nothing_is_bold(root, tmp_path):
    runs = write_bench(tmp_path, root, CASES, labels=("supervised", "half-cps"))
    section = read_bench(runs).sections[0]
    assert not any(cell.bold for row in score_grid(section).rows for cell in row)
    assert verdict(section).headline == "No method differs significantly from supervised."
    assert "half-cps is not significantly different from supervised" in verdict(section).details[0]


def test_many_methods_without_a_difference_share_a_sentence(section, monkeypatch):
    """So that twenty methods are no wall of text; what is significant has a sentence of its own."""
    monkeypatch.setattr("fewmask.bench.report.verdict.MOST_NAMES", 0)
    (half,) = [c for c in compare(section.scores["dice"], "supervised") if c.first == "half-cps"]
    first, second = verdict(section).details
    assert first.startswith("cps is better than supervised")
    assert second == (
        f"not significantly different, in points of Dice: half-cps ({signed(half.difference, 'dice', 1)}); "
        f"the least p is {half.adjusted:.2f}"
    )


def test_the_verdict_in_words(bench, section):
    gain = 100 * (known("cps") - known("supervised")).mean()
    found = verdict(section)
    assert found.headline == f"cps (+{gain:.1f}) beats supervised significantly, in points of Dice."
    assert found.details[0].startswith(f"cps is better than supervised: +{gain:.1f} points of Dice, p\u00a0=\u00a00.0")
    assert found.details[0].endswith(
        f"higher in {CASES} of {CASES}\u00a0cases, and under 2 of 2\u00a0seeds".replace("\u00a0", " ")
    )
    assert "9 test cases, 2 seeds" in found.evidence
    assert overall(bench) == [
        "cps against supervised, 2 settings: significantly better in 2",
        "half-cps against supervised, 2 settings: not significantly different in 2",
    ]
    other = read_bench([BenchRun(run.path, run.name) for runs in section.runs.values() for run in runs], baseline="cps")
    assert (
        verdict(other.sections[0]).headline == "No method beats cps. supervised and half-cps are significantly worse."
    )


def test_many_names_become_a_number(section, monkeypatch):
    gain = 100 * (known("cps") - known("supervised")).mean()
    monkeypatch.setattr("fewmask.bench.report.verdict.MOST_NAMES", 0)
    told = f"1 of 2 methods beat supervised significantly, by up to +{gain:.1f} points of Dice (cps)."
    assert verdict(section).headline == told


def test_few_cases_give_no_verdict(root, tmp_path):
    runs = write_bench(tmp_path, root, CASES, labels=("supervised", "cps"))
    for run in runs:
        put_scores(run.path, [0.5, 0.6, 0.7] if run.label == "supervised" else [0.9, 0.9, 0.9])
    section = read_bench(runs).sections[0]
    assert verdict(section).headline == "No verdict: with 3 test cases no test can find a difference."
    assert comparison_grid(section) is None and not any(cell.bold for row in score_grid(section).rows for cell in row)


def test_cases_without_anything_to_score_are_none_and_told(section):
    """Nine cases, in five of which nothing is and nothing was found: too few for a test, which is no word on the methods."""

    def empty(scores):
        gone = np.arange(CASES) < 5
        return replace(scores, values={label: np.where(gone, np.nan, rows) for label, rows in scores.values.items()})

    section = replace(section, scores={name: empty(one) for name, one in section.scores.items()})
    found = verdict(section)
    assert found.headline.startswith("No verdict: cps and supervised have 4 cases in common"), found.headline
    assert "Wilcoxon" not in found.evidence and len(found.details) == 3
    note = score_grid(section).notes[0].replace("\u00a0", " ")
    assert note.endswith("over 9 cases; up to 5 cases in which nothing is and nothing was found left out")


def test_seeds_are_paired_where_both_have_them(section):
    assert section.seeds_better("cps") == (2, 2)
    dice = section.scores["dice"]
    other = replace(dice, seeds={**dice.seeds, "cps": (2, 3)})
    assert replace(section, scores={"dice": other}).seeds_better("cps") == (0, 0)


def test_other_labelled_cases_under_one_seed_are_told(root, tmp_path):
    runs = write_bench(tmp_path, root, CASES, labels=("supervised", "cps"))
    assert not any("labelled cases" in remark for remark in read_bench(runs).remarks)
    split = RunFolder(runs[2].path).split()  # of cps, seed 0
    edit_json(runs[2].path / "split.json", labelled=list(split.unlabelled[:2]), unlabelled=list(split.labelled))
    bench = read_bench(runs)
    assert any("not all learn from the same labelled cases under one seed (0)" in remark for remark in bench.remarks)
    assert "The labelled cases differ from run to run" in list(_protocol(bench.sections[0]))


def test_overlaps_have_no_unit(bench):
    units = {row["metric"]: row["unit"] for row in rows_of(csv_files(bench)["summary.csv"])}
    assert (units["dice"], units["hd95"]) == ("", "voxel")


def test_only_common_seeds_are_compared(root, tmp_path):
    runs = write_bench(tmp_path, root, CASES, labels=("supervised", "cps"), seeds=(0, 1))
    put_scores(runs[1].path, np.full(CASES, 0.99))  # of supervised, seed 1: would win were it counted
    bench = read_bench(runs[:3])
    (found,) = bench.sections[0].comparisons["dice"]
    assert found.difference == pytest.approx((dice_of("cps", 0, CASES) - dice_of("supervised", 0, CASES)).mean())
    assert any("not all were run with the same seeds" in remark for remark in bench.remarks)
    assert bench.sections[0].summaries["dice"]["supervised"].seeds == 2


def test_labels_tell_variants_apart(root, tmp_path, section):
    assert section.runs["half-cps"][0].method == "cps" == section.runs["cps"][0].method
    runs = write_bench(tmp_path, root, CASES, labels=("supervised", "cps"), seeds=(0,))
    with pytest.raises(RunError, match="different methods under one label"):
        read_bench([BenchRun(run.path, "mine") for run in runs])
    with pytest.raises(ConfigError, match="no run is called 'cpss', so it cannot be the baseline: did you mean 'cps'"):
        read_bench(runs, baseline="cpss")


def test_settings_that_differ_are_listed(root, tmp_path):
    runs = write_bench(tmp_path, root, CASES, seeds=(0,))
    config = runs[2].path / "config.yaml"
    write_whole(config, read_whole(config).replace("iterations: 8", "iterations: 9"))
    grid = setting_grid(read_bench(runs).sections[0])
    assert [row[2].text for row in grid.rows] == ["train.iterations=8", "train.iterations=8", "train.iterations=9"]
    assert any("not all were trained for as long" in text for text in read_bench(runs).remarks)


def test_runs_without_scores_are_left_out_and_told(root, tmp_path):
    runs = write_bench(tmp_path, root, CASES, labels=("supervised", "cps"), seeds=(0,))
    (runs[1].path / "predictions" / "summary.json").unlink()
    bench = read_bench(runs)
    assert bench.labels == ("supervised",) and "1 of 2 runs have no scores yet" in bench.remarks[0]
    assert verdict(bench.sections[0]).headline == "Only supervised was run: there is nothing to compare it with."
    with pytest.raises(RunError, match="no run has scores yet"):
        read_bench(runs[1:])


def test_intervals_of_every_kind(section):
    grid = interval_grid(section)
    assert grid.heads[-4:] == ("90 %, cases", "95 %, cases", "90 %, seeds", "95 %, seeds")
    low, high = stats.t.interval(0.95, 1, known("cps").mean(), stats.sem(known("cps").mean(axis=1)))
    assert grid.rows[1][-1].text == f"{100 * low:.1f} to {100 * high:.1f}"


def as_method(runs, name, **settings):
    """The same runs, of another method."""
    method = MethodSection.model_validate({"name": name, **settings})
    return tuple(
        replace(run, experiment=run.experiment.model_copy(update={"method": method}), config="") for run in runs
    )


class TestPublished:
    @pytest.fixture
    def atrium(self, section):
        setting = Setting("LeftAtrium", "la/honest", 6, 2, 72)
        scores = {name: replace(one, setting=setting) for name, one in section.scores.items()}
        return replace(section, setting=setting, scores=scores)

    def test_papers_with_as_many_labels_stand_beside(self, atrium):
        tables = published_tables(atrium)
        titles = [table.title for table in tables]
        assert f"diff-cl, comparison, left atrium: la, 8 labelled (10%); ours: {atrium.heading}" in titles
        entry = tables[0].entries["supervised"]["dice"]
        assert entry.difference == pytest.approx(known("supervised").mean() - entry.theirs.mean)
        assert any("ours follow la/honest, the paper la/paper" in note for note in tables[0].notes)

    @pytest.mark.parametrize(
        ("setting", "shortcuts"),
        [
            (Setting("BraTS2019", "brats2019/paper", 25, 25, 225), ("extra-validation", "voxel-units")),
            (Setting("BraTS2019", "brats2019/honest", 20, 5, 250), ()),
        ],
    )
    def test_labels_that_validate_count_where_the_budget_pays_for_them(self, section, setting, shortcuts):
        scores = {
            name: replace(one, setting=setting, shortcuts=shortcuts, unit="voxel")
            for name, one in section.scores.items()
        }
        titles = [table.title for table in published_tables(replace(section, setting=setting, scores=scores))]
        assert titles and all("brats2019, 25 labelled (10%)" in title for title in titles), titles

    @pytest.mark.parametrize(("budget", "share"), [(1, 1), (5, 5), (9, 10), (17, 20)])
    def test_a_share_is_the_number_of_cases_that_it_gives(self, section, budget, share):
        """Of 85 images; 5 of them are 5.9 %, and 5 % of them, rounded up, are 5."""
        (table,) = published_tables(replace(section, setting=Setting("GlaS", "glas/paper", budget, 0, 85 - budget)))
        assert f": glas, {share}% labelled;" in table.title

    def test_a_variant_that_is_the_only_one_of_its_method_stands_for_it(self, section):
        lesions = replace(section, setting=Setting("PH2", "", 7, 0, 133))
        (table,) = published_tables(lesions)
        assert table.entries["cps"]["dice"].ours is not None is not table.entries["cps"]["dice"].theirs
        assert table.entries["half-cps"]["dice"].theirs is None
        scores = {name: one.on_common_seeds("supervised", "half-cps") for name, one in lesions.scores.items()}
        (table,) = published_tables(replace(lesions, scores=scores))
        assert table.entries["half-cps"]["dice"].theirs.printed == "82.86±1.18" and "cps" not in table.entries
        assert "half-cps is our only run of cps and stands in its row" in table.notes
        runs = {**section.runs, "half-cps": as_method(section.runs["cps"], "cps", ce_weight=0.25)}
        (table,) = published_tables(replace(lesions, scores=scores, runs=runs))
        assert "half-cps is our only run of cps and stands in its row, with ce_weight=0.25" in table.notes
        assert published_tables(replace(section, setting=Setting("Somewhere", "", 7, 0, 133))) == []

    def test_without_a_protocol_the_name_of_the_data_tells(self, atrium):
        plain = replace(atrium, setting=Setting("LeftAtrium", "", 8, 0, 72))
        assert [table.title for table in published_tables(plain)] == [table.title for table in published_tables(atrium)]

    def test_a_label_called_like_a_method_that_it_is_not_stands_alone(self, atrium):
        impostor = replace(
            atrium, runs={**atrium.runs, "half-cps": atrium.runs["supervised"], "supervised": atrium.runs["cps"]}
        )
        table = published_tables(impostor)[0]
        assert table.entries["supervised"]["dice"].theirs is None
        assert table.entries["half-cps"]["dice"].theirs is not None  # the only one that runs it

    def test_rows_of_an_ablation_by_their_labels(self, atrium):
        method = MethodSection(name="uncertainty-dual-network")
        dual = atrium.runs["cps"][0].experiment.model_copy(update={"method": method})
        runs = {
            "cps": tuple(replace(run, experiment=dual) for run in atrium.runs["cps"]),
            "supervised": atrium.runs["supervised"],
        }
        scores = {name: one.on_common_seeds("supervised", "cps") for name, one in atrium.scores.items()}
        tables = {table.title: table for table in published_tables(replace(atrium, runs=runs, scores=scores))}
        (title,) = [title for title in tables if "Table 4" in title]
        assert not any("is the row" in note and "cps is" in note for note in tables[title].notes)
        assert tables[title].entries["cps"]["dice"].theirs.printed == "89.70±0.56"
        assert tables[title].entries["EFS"]["dice"].ours is None

    def test_rows_of_an_ablation_by_the_labels_of_the_shipped_suite(self, atrium):
        setting = replace(atrium.setting, labelled=4, validation=0, unlabelled=76)
        runs = {
            "cross": as_method(atrium.runs["supervised"], "diff-cl"),
            "labels-only": as_method(atrium.runs["cps"], "diff-cl"),
        }
        scores = {
            name: replace(one, values={"cross": one.values["supervised"], "labels-only": one.values["cps"]})
            for name, one in atrium.scores.items()
        }
        tables = published_tables(replace(atrium, setting=setting, runs=runs, scores=scores))
        (table,) = [table for table in tables if "Table 6" in table.title]
        assert table.entries["cross"]["dice"].difference == pytest.approx(known("supervised").mean() - 0.8654)
        assert table.entries["labels-only"]["dice"].theirs.printed == "84.81"
        assert "labels-only is the row 'supervised'; cross is the row '+ cross pseudo-supervision'" in table.notes

    def test_beside_a_table_of_some_test_images_stand_our_scores_of_these(self, section):
        names = tuple(f"{source}_{number}" for source in ("clinicdb", "cvc300") for number in range(CASES))[: CASES + 4]
        setting = Setting("Polyp", "polyp/paper", 145, 0, 1305)
        scores = {
            metric: replace(
                one,
                setting=setting,
                cases=names,
                values={label: np.concatenate([rows, rows[:, :4] / 2], axis=1) for label, rows in one.values.items()},
            )
            for metric, one in section.scores.items()
        }
        runs = {**section.runs, "cps": as_method(section.runs["cps"], "ua-mt")}
        tables = published_tables(replace(section, setting=setting, scores=scores, runs=runs))
        assert [table.title.split(",")[2] for table in tables] == [" CVC-300", " CVC-ClinicDB"]  # none of Kvasir
        few, many = (table.entries["cps"]["dice"] for table in tables)
        assert (few.theirs.printed, many.theirs.printed) == ("40.15", "74.51")
        assert few.ours.mean == pytest.approx(known("cps")[:, :4].mean() / 2) and few.ours.cases == 4
        assert many.ours.mean == pytest.approx(known("cps").mean()) and many.ours.cases == CASES
        assert any("the paper on 60, by name 0 of them" in note for note in tables[0].notes)

    def test_other_settings_than_the_papers_are_told(self, atrium):
        plain = replace(atrium, setting=Setting("LeftAtrium", "", 8, 0, 72))
        table = published_tables(plain)[0]
        (fixed,) = [note for note in table.notes if note.startswith("ours differ from la/paper")]
        assert "inference.stride unset, there [18, 18, 4]; preprocess.normalisation zscore, there none" in fixed
        assert "sampling.patch_size" in fixed and "evaluation.unit" not in fixed
        (size,) = [note for note in table.notes if note.startswith("ours differ from the shipped la-paper")]
        assert "train.iterations 8, there 6000" in size and "network.name" not in size
        settings = {**protocol_settings("la/paper"), "train": {"iterations": 6000}}
        alike = {
            label: tuple(
                replace(run, experiment=load_experiment(changes={**settings, "method": {"name": run.method}}))
                for run in runs
            )
            for label, runs in atrium.runs.items()
        }
        assert not any("ours differ" in note for note in published_tables(replace(plain, runs=alike))[0].notes)
        alike["cps"] = atrium.runs["cps"]
        notes = " / ".join(published_tables(replace(plain, runs=alike))[0].notes)
        assert "inference.stride unset, there [18, 18, 4] (cps)" in notes

    @pytest.mark.parametrize(("says", "recorded"), [(None, False), ([], True), (["reference-crop"], False)])
    def test_shortcuts_that_nobody_recorded_are_not_denied(self, atrium, tmp_path, says, recorded):
        """A split bears what ``dataset.json`` said when the run began: a shortcut that was added later is not in it."""
        (tmp_path / "dataset.json").write_text(json.dumps({} if says is None else {"shortcuts": says}))
        runs = {
            label: tuple(replace(run, dataset={**run.dataset, "root": str(tmp_path)}) for run in found)
            for label, found in atrium.runs.items()
        }
        plain = replace(atrium, setting=Setting("LeftAtrium", "", 8, 0, 72), runs=runs)
        sentence = list(_protocol(plain))[-1]
        assert (sentence == "No shortcuts taken") == recorded == (not sentence.startswith("Shortcuts: none recorded"))
        notes = " / ".join(published_tables(plain)[0].notes)
        assert ("ours do not: every scan" in notes) == recorded == ("nothing is recorded" not in notes)

    def test_what_is_to_be_known_of_a_paper_is_said_once(self, bench, atrium):
        report = prepare(replace(bench, sections=(atrium, atrium)), pictures=False)
        citation, remark = "arXiv 2503.09408", "The text claims a gain of 3.54 in HD95"
        for text in (to_html(report), to_report_markdown(report)[0], to_tex(report)):
            assert text.count(citation) == text.count(remark) == 1
            assert text.index(citation) < text.index(remark) < text.index("diff-cl, comparison, left atrium")
            assert text.count("diff-cl, comparison, left atrium") == 2
