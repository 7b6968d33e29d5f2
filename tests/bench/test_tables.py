"""Our scores beside a paper's: the difference, who may be bold, and what stands below."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from fewmask.bench.case_scores import CaseScores, Setting
from fewmask.bench.published import find_published
from fewmask.bench.tables import beside, put_beside, to_csv, to_latex, to_markdown
from fewmask.data.protocols.shelf import read_list
from fewmask.errors import ConfigError

CASES = tuple(f"case{number:02}" for number in range(20))
SPREAD = np.linspace(-0.05, 0.05, 20)
SETTING = Setting("Dataset001_LeftAtrium", "la/paper", 8, 0, 72)


def our(metric="dice", setting=SETTING, unit="voxel", shortcuts=("reference-crop", "voxel-units"), **means):
    """Three seeds about a mean, 0.01 apart; `ua_mt` stands for ua-mt."""
    values = {
        name.replace("_", "-"): np.stack([mean + SPREAD + step for step in (-0.01, 0, 0.01)])
        for name, mean in means.items()
    }
    return CaseScores(metric, values, CASES, unit, None, setting, shortcuts)


@pytest.fixture
def both():
    dice = our(supervised=0.80, ua_mt=0.85, my_method=0.90)
    return {"dice": dice, "hd95": our("hd95", supervised=20.0, ua_mt=10.0, my_method=10.0)}


def test_difference_is_ours_minus_theirs(both):
    table = beside(both, "uncertainty-dual-network", "la", 8)
    entry = table.entries["ua-mt"]["dice"]
    assert entry.difference == pytest.approx(0.85 - 0.8710)
    assert entry.ours.std_seeds == pytest.approx(0.01)
    assert table.entries["supervised"]["hd95"].difference == pytest.approx(20.0 - 31.44)
    assert table.metrics == ("dice", "hd95")  # what was not scored here is left out


def test_every_method_of_either_side_has_a_row(both):
    table = beside(both, "uncertainty-dual-network", "la", 8)
    assert list(table.entries)[:2] == ["supervised", "ua-mt"] and list(table.entries)[-1] == "my-method"
    assert len(table.entries) == 13
    assert table.entries["bcp"]["dice"].ours is None and table.entries["my-method"]["dice"].theirs is None
    assert table.entries["bcp"]["dice"].difference is None is table.entries["my-method"]["dice"].difference


def test_bold_is_earned_within_a_metric(both):
    table = beside(both, "diff-cl", "la", 8)
    bold = {metric: {name for name, row in table.entries.items() if row[metric].bold} for metric in table.metrics}
    assert bold == {"dice": {"my-method"}, "hd95": {"ua-mt", "my-method"}}


def test_an_impossible_figure_is_shown_but_not_compared_with():
    table = beside({"jaccard": our("jaccard", sassnet=0.8, dtc=0.8)}, "diff-cl", "la", 8)
    assert table.entries["sassnet"]["jaccard"].difference is None
    assert table.entries["dtc"]["jaccard"].difference == pytest.approx(0.8 - 0.7806)
    text = to_markdown(table)
    assert "| sassnet | 80.00 ± 1.00 | 76.91 † | – |" in text
    assert "† sassnet: a mean Jaccard below D/(2 - D)" in text


def test_doubtful_figures_are_marked_and_compared_with(both):
    text = to_markdown(beside(both, "uncertainty-dual-network", "la", 8))
    assert "51.76 ± 7.38 ? | +28.24 |" in text and "- ? supervised: 27 points of Dice below" in text


def test_distances_in_other_units_are_not_subtracted():
    in_mm = our("hd95", unit="mm", supervised=20.0, ua_mt=10.0)
    table = beside({"hd95": in_mm}, "diff-cl", "la", 8)
    assert table.entries["ua-mt"]["hd95"].difference is None
    assert "the paper's distances are in voxels, ours in mm" in table.notes


def test_the_row_set_distance_stands_beside_but_is_not_subtracted():
    table = beside({"hd_rowset": our("hd_rowset", ua_mt=5.5)}, "semigda", "busi", 52)
    entry = table.entries["ua-mt"]["hd_rowset"]
    assert (entry.ours.mean, entry.theirs.printed, entry.difference) == (pytest.approx(5.5), "4.96", None)
    assert any("224 x 224 in the paper" in note for note in table.notes)
    assert "| ua-mt | 5.50 ± 0.01 | 4.96 | – |" in to_markdown(table)


def test_a_share_alone_is_a_title():
    table = beside({"dice": our(ua_mt=0.7)}, "diffusion-co-training", "glas", "1%")
    assert table.title == "diffusion-co-training, Table 1, GlaS: glas, 1% labelled"


class TestNotes:
    def test_the_papers_way_has_only_what_remains_different(self, both):
        notes = " / ".join(beside(both, "diff-cl", "la", 8).notes)
        assert "3 seeds" in notes and "20 cases" in notes and "prints no spread" in notes
        assert "Some papers (MC-Net and those after it) pick the checkpoint" in notes
        assert "shortcuts taken: every scan" in notes
        assert (
            "no measure of the methods" not in notes
            and "that ours do not" not in notes
            and "ours train on" not in notes
        )

    def test_an_honest_run_says_so(self):
        honest = our(setting=replace(SETTING, protocol="la/honest", labelled=6, validation=2), shortcuts=(), ua_mt=0.8)
        notes = " / ".join(beside({"dice": honest}, "uncertainty-dual-network", "la", 8).notes)
        assert "ours follow la/honest, the paper la/paper" in notes
        assert "shortcuts that ours do not: every scan, test scans included, is cut around its reference" in notes
        assert "ours train on 6 labelled cases, the paper on 8" in notes
        assert "shortcuts taken" not in notes and "does not say what its ± is" in notes

    @pytest.mark.parametrize("recorded", [True, False])
    def test_what_is_not_recorded_is_not_denied(self, recorded):
        """Whether scans are cut around the reference is known of nobody's data but by those who say so; that fewmask chooses no checkpoint
        on the test set is known."""
        plain = our(setting=replace(SETTING, protocol="", labelled=4, unlabelled=76), shortcuts=(), ua_mt=0.8)
        results = find_published("la", None, 4, paper="diffusion-co-training")
        notes = put_beside({"dice": plain}, results, recorded=recorded).notes
        (denied,) = [note for note in notes if "shortcuts that ours do not" in note]
        asked = [note for note in notes if "of which nothing is recorded for ours" in note]
        assert "best on the test set" in denied and ("is cut around its reference" in denied) == recorded
        assert "distances are in voxels" not in denied, "ours are, too"
        assert [("cut around" in note, '"shortcuts": ["reference-crop"]' in note) for note in asked] == [
            (True, True)
        ] * (not recorded)
        assert (
            beside({"dice": plain}, "diffusion-co-training", "la", 4).notes
            == put_beside({"dice": plain}, results, recorded=False).notes
        )

    @pytest.mark.parametrize("protocol", ["la/co-training", "la/honest", ""])
    def test_what_is_said_of_our_version_of_a_protocol_is_said_of_runs_that_follow_it(self, protocol):
        scores = our(setting=replace(SETTING, protocol=protocol, labelled=4, unlabelled=76), ua_mt=0.8)
        notes = " / ".join(beside({"dice": scores}, "diffusion-co-training", "la", 4).notes)
        assert "The paper's code pools all voxels of the test set" in notes
        assert ("Labels are drawn by a seed" in notes) == (protocol == "la/co-training")

    def test_other_cases_are_told(self):
        listed = tuple(read_list("la-test"))
        alike = {"dice": replace(our(ua_mt=0.8), cases=listed)}
        assert not any("test case" in note for note in beside(alike, "diff-cl", "la", 8).notes)
        few = replace(SETTING, unlabelled=40)
        scores = CaseScores("dice", {"ua-mt": np.full((1, 12), 0.8)}, (*listed[:11], "other"), "voxel", None, few)
        notes = beside({"dice": scores}, "diff-cl", "la", 8).notes
        assert "ours are scored on 12 test cases, the paper on 20, by name 11 of them the same" in notes
        assert "ours train on 40 unlabelled cases, the paper on 72" in notes

    def test_intervals_are_told_from_deviations(self):
        setting = replace(SETTING, protocol="la/co-training", labelled=4)
        notes = beside({"dice": our(setting=setting, dtc=0.8)}, "diffusion-co-training", "la", "5%").notes
        assert any("half a 90 % confidence interval" in note for note in notes)


class TestLayouts:
    def test_markdown(self, both):
        lines = to_markdown(beside(both, "diff-cl", "la", 8)).splitlines()
        assert lines[0] == "### diff-cl, comparison, left atrium: la, 8 labelled (10%)"
        assert (
            lines[2]
            == "| method | Dice % ours | Dice % theirs | Dice % difference | HD95 ours | HD95 theirs | HD95 difference |"
        )
        assert lines[5] == "| ua-mt | 85.00 ± 1.00 | 84.48 | +0.52 | **10.00 ± 0.01** | 17.13 | −7.13 |"
        assert "| my-method | **90.00 ± 1.00** | – | – | **10.00 ± 0.01** | – | – |" in lines
        assert len({line.count("|") for line in lines if line.startswith("|")}) == 1

    def test_latex(self, both):
        text = to_latex(beside(both, "uncertainty-dual-network", "la", 8))
        assert r"ua-mt & 85.00 $\pm$ 1.00 & 87.10 $\pm$ 1.09 & $-$2.10" in text
        assert r"my-method & \textbf{90.00 $\pm$ 1.00} & -- & --" in text
        assert r"Dice \% ours" in text and r"8 labelled (10\%)" in text
        body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
        assert {line.count(" & ") for line in body} == {6} and r"\begin{tabular}{lrrrrrr}" in text
        assert not {"±", "−", "–", "\0", "\u00a0"} & set(text)

    def test_latex_escapes_what_a_name_may_hold(self):
        table = beside({"dice": our(**{"a_b&50%": 0.8})}, "diff-cl", "la", 8)
        assert r"a-b\&50\% & 80.00" in to_latex(table)
        assert "a\\|b" in to_markdown(beside({"dice": our(**{"a|b": 0.8})}, "diff-cl", "la", 8))

    def test_csv_has_plain_numbers(self, both):
        rows = {
            (row["method"], row["metric"]): row
            for row in csv.DictReader(io.StringIO(to_csv(beside(both, "diff-cl", "la", 8))))
        }
        row = rows["ua-mt", "dice"]
        assert float(row["ours"]) == pytest.approx(0.85) and float(row["theirs"]) == 0.8448
        assert float(row["difference"]) == pytest.approx(0.85 - 0.8448) and row["spread"] == ""
        assert (row["seeds"], row["cases"], row["bold"]) == ("3", "20", "False")
        assert rows["sassnet", "dice"]["doubts"].startswith("impossible: ") and rows["sassnet", "dice"]["ours"] == ""
        assert len(rows) == 12 * 2

    def test_no_difference_has_no_sign(self):
        text = to_markdown(beside({"dice": our(ua_mt=0.84482)}, "diff-cl", "la", 8))
        assert "| ua-mt | 84.48 ± 1.00 | 84.48 | 0.00 |" in text


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (("diff-cl", "la", 16), "no comparison on la with 16 labelled: it has 4, 8, 80"),
        (("diff-cl", "busi", 52), "nothing of that data set"),
        (("semigda", "polyp", 145), "choose a subset: CVC-300, CVC-ClinicDB, Kvasir"),
        (("diffcl", "la", 8), "did you mean 'diff-cl'"),
    ],
)
def test_what_no_paper_has_is_told(both, asked, complaint):
    with pytest.raises(ConfigError, match=complaint):
        beside(both, *asked)


def test_other_metrics_are_told():
    with pytest.raises(ConfigError, match="prints dice, jaccard, hd_rowset"):
        beside({"asd": our("asd", ua_mt=1.0)}, "semigda", "busi", 52)
