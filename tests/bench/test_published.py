"""The papers' figures: whole, possible where they are not marked, and found by name."""

from collections import Counter

import pytest

from fewmask.bench.published import Paper, all_results, find_published, published_names, read_published
from fewmask.config import validate
from fewmask.data.protocols import find_protocol, find_public, public_names
from fewmask.data.protocols.shelf import read_list
from fewmask.errors import ConfigError
from fewmask.methods import METHODS

TEST_CASES = {"la": 20, "pancreas-ct": 20, "brats2019": 60}
HALF_A_DIGIT = 0.00005  # figures are printed in per cent with two digits


def jaccard_of(dice):
    return dice / (2 - dice)


def named(result):
    table = result.table
    return f"{result.paper.name}: {table.source}, {table.dataset}, {table.share}, {result.row}"


def with_jaccard(spread=None):
    """Dice, Jaccard and the row, of all rows that have both, or of the papers with one kind of ±."""
    rows = [result for result in all_results() if "jaccard" in result.figures]
    chosen = [result for result in rows if spread in (None, result.paper.spread)]
    assert len(chosen) > 50
    return [(result.figures["dice"].mean, result.figures["jaccard"].mean, result) for result in chosen]


def is_doubted(result, *metrics, kind=None):
    doubts = [doubt for metric in metrics for doubt in result.figures[metric].doubts]
    return any(kind in (None, doubt.kind) for doubt in doubts)


def test_every_row_of_every_table_is_there():
    rows = Counter()
    for result in all_results():
        rows[result.paper.name, result.table.source] += 1
    assert rows == {
        # 11 methods at two numbers of labels, and the V-Net with all
        ("diff-cl", "comparison, left atrium"): 23,
        ("diff-cl", "comparison, pancreas"): 23,
        ("diff-cl", "comparison, BraTS-2019"): 23,
        ("diff-cl", "Table 6, parts of the method"): 4 * 2,
        # the same with 12 and 9 methods, and a row of costs for each
        ("uncertainty-dual-network", "comparison, left atrium"): 12 * 3 + 1,
        ("uncertainty-dual-network", "comparison, pancreas"): 12 * 3 + 1,
        ("uncertainty-dual-network", "comparison, BraTS-2019"): 9 * 3 + 1,
        ("uncertainty-dual-network", "Table 4, parts of the method"): 8 * 3,
        ("uncertainty-dual-network", "Table 5, distance of the consistency term"): 8 * 3,
        ("uncertainty-dual-network", "Table 6, third contrastive term"): 4 * 3,
        ("uncertainty-dual-network", "Table 7, percentile of the entropy filter"): 9 * 3,
        # 6 methods at five shares, and one with all labels; 7 on the left atrium
        ("diffusion-co-training", "Table 1, GlaS"): 31,
        ("diffusion-co-training", "Table 1, PH2"): 31,
        ("diffusion-co-training", "Table 1, HMEPS"): 31,
        ("diffusion-co-training", "Table 2, left atrium"): 36,
        # 14 methods, two shares, four and two data sets
        ("semigda", "Table 1"): 14 * 2 * 4,
        ("semigda", "Table 2"): 14 * 2 * 2,
        ("semigda", "Table 3, parts of the method"): 4 * 3,
        ("semigda", "Table 4, adapters"): 4 * 3,
        ("semigda", "Table 5, losses"): 4 * 3,
    }


@pytest.mark.parametrize(
    ("paper", "dataset", "labelled", "row", "cells"),
    [
        ("diff-cl", "la", 4, "Diff-CL", "89.03 80.35 6.36 2.18"),
        ("diff-cl", "la", 80, "V-Net", "91.62 84.60 5.40 1.64"),
        ("diff-cl", "pancreas-ct", 12, "ML-RPL", "80.29 67.53 9.50 2.21"),
        ("diff-cl", "pancreas-ct", 6, "Diff-CL", "78.21 64.8 14.11 3.26"),
        ("diff-cl", "brats2019", 25, "DTC", "80.01 69.78 11.56 1.94"),
        ("uncertainty-dual-network", "la", 16, "BCP", "91.61±0.44 84.58±0.74 4.97±0.59 1.78±0.19"),
        ("uncertainty-dual-network", "pancreas-ct", 6, "Ours", "71.83±4.15 57.87±3.97 11.26±3.57 2.75±0.72"),
        ("uncertainty-dual-network", "brats2019", 50, "CPCL", "83.48±2.18 74.08±2.49 9.53±1.16 2.08±0.30"),
        ("diffusion-co-training", "glas", "5%", "CCT", "76.33±1.10 61.76±1.43"),
        ("diffusion-co-training", "ph2", 32, "Ours", "92.42±0.42 85.90±0.73"),
        ("diffusion-co-training", "hmeps", "1%", "UAMT", "90.18±0.77 82.12±1.27"),
        ("diffusion-co-training", "la", "1%", "CPS", "71.69±9.41 56.57±10.80"),
        ("semigda", "isic2018", 207, "UnCo", "85.59 77.56 4.77"),
        ("semigda", "bcss", 816, "SemiGDA", "75.65 64.59 6.90"),
        ("semigda", "busi", 52, "CDMA", "62.32 51.26 5.20"),
    ],
)
def test_cells_are_the_printed_ones(paper, dataset, labelled, row, cells):
    (result,) = [found for found in find_published(dataset, None, labelled, paper=paper) if found.row == row]
    assert " ".join(figure.printed for figure in result.figures.values()) == cells


def test_the_same_setting_is_there_for_each_test_set():
    rows = {found.table.subset: found for found in find_published("polyp", "ua-mt", 145)}
    dice = {subset: found.figures["dice"].printed for subset, found in rows.items()}
    assert dice == {"CVC-300": "40.15", "CVC-ClinicDB": "74.51", "Kvasir": "73.15"}
    (chosen,) = find_published("polyp", "ua-mt", "30%", subset="Kvasir")
    assert chosen.figures["hd_rowset"].printed == "4.51"


def test_overlaps_are_shares_and_distances_as_printed():
    (result,) = find_published("la", "ua-mt", 8, paper="uncertainty-dual-network")
    assert (result.figures["dice"].mean, result.figures["dice"].spread) == (0.871, 0.0109)
    assert (result.figures["hd95"].mean, result.figures["hd95"].spread) == (14.22, 2.73)
    (bare,) = find_published("la", "ua-mt", 8, paper="diff-cl")
    assert bare.figures["dice"].spread is None


def test_jaccard_is_possible_unless_marked():
    """Jaccard is a convex function of Dice, so its mean is not below that of the mean Dice, and never above the mean Dice."""
    for dice, jaccard, result in with_jaccard():
        possible = jaccard_of(dice - HALF_A_DIGIT) <= jaccard + HALF_A_DIGIT and jaccard <= dice
        assert possible != is_doubted(result, "dice", "jaccard", kind="impossible"), named(result)


def test_pooled_jaccard_is_that_of_the_dice_unless_marked():
    for dice, jaccard, result in with_jaccard("ci90"):
        assert abs(jaccard - jaccard_of(dice)) < 0.004 or is_doubted(result, "jaccard"), named(result)


def test_jaccard_is_near_that_of_the_dice():
    """By how much it is above depends on how unlike the cases are; a slip of the pen is farther off."""
    for dice, jaccard, result in with_jaccard("none"):
        assert jaccard < jaccard_of(dice) + 0.1, named(result)


def test_deviation_is_a_standard_error_over_cases_unless_marked():
    """A mean and a variance bound the mean of a convex function whose curvature grows: the bounds are reached by two values each, of
    which one is 0 or 1."""
    for dice, jaccard, result in with_jaccard("undefined"):
        cases, error = TEST_CASES[result.table.dataset], result.figures["dice"].spread
        high = dice + error**2 * (cases - 1) / dice
        lowest = dice / high * jaccard_of(high)
        low, share = dice - error**2 * cases / (1 - dice), error**2 * cases / (error**2 * cases + (1 - dice) ** 2)
        highest = share + (1 - share) * jaccard_of(low)
        fits = lowest - 0.003 < jaccard < highest + 0.003
        about_it = [doubt for doubt in result.figures["jaccard"].doubts if "standard error" in doubt.why]
        assert fits != bool(about_it), named(result)


def test_other_figures_are_possible():
    for result in all_results():
        figures = {metric: figure.mean for metric, figure in result.figures.items()}
        assert all(value > 0 for value in figures.values()), named(result)
        if "hd95" in figures:
            assert figures["asd"] < figures["hd95"] < 60, named(result)
        if "hd_rowset" in figures:
            assert figures["hd_rowset"] < 0.95 * 224**0.5  # two rows differ in 224 pixels at most


def test_what_stands_in_two_tables_is_the_same():
    for paper, full in (
        ("diff-cl", "+ contrast (full)"),
        ("uncertainty-dual-network", "all four modules"),
        ("uncertainty-dual-network", "MSE"),
        ("uncertainty-dual-network", "with"),
        ("semigda", "+ DAM + CDSA"),
        ("semigda", "both"),
        ("semigda", "row 4, all four losses"),
    ):
        rows = [found for found in find_published(paper=paper, kind="ablation") if found.row == full]
        assert rows
        for row in rows:
            table = row.table
            main = find_published(table.dataset, row.method, table.labelled, subset=table.subset, paper=paper)
            if table.share in ("15%", "25%"):  # printed nowhere else
                continue
            (main,) = main
            same = all(main.figures[metric].printed == figure.printed for metric, figure in row.figures.items())
            assert same != is_doubted(row, "dice"), named(row)


def test_doubts_are_where_they_belong():
    tables = [table for name in published_names() for table in read_published(name).tables]
    assert Counter(doubt.kind for table in tables for doubt in table.doubts) == {"impossible": 7, "doubtful": 41}
    (dtc,) = find_published("la", "dtc", 8, paper="uncertainty-dual-network")
    assert is_doubted(dtc, "hd95") and not is_doubted(dtc, "dice")
    (sassnet,) = find_published("la", "sassnet", 8, paper="diff-cl")
    assert is_doubted(sassnet, "dice") and is_doubted(sassnet, "jaccard") and not is_doubted(sassnet, "hd95")
    (whole_row,) = find_published("brats2019", "supervised", 25, paper="diff-cl")
    assert all(figure.doubts for figure in whole_row.figures.values())


@pytest.mark.parametrize("name", published_names())
def test_tables_name_protocols_and_budgets_that_exist(name):
    for table in read_published(name).tables:
        known, protocol = find_protocol(table.protocol)
        assert known.name == table.dataset
        if table.kind != "cost" and table.share != "100%":
            assert {table.labelled, table.share} & {*protocol.labelled} or table.kind == "ablation"
        shown = {"hd95": "hd95", "asd": "asd", "dice": "dice", "jaccard": "jaccard"}.keys() & {*table.metrics}
        assert shown <= {*protocol.metrics}
    whole = {(t.dataset, t.labelled + t.unlabelled) for t in read_published(name).tables if t.unlabelled is not None}
    assert len(whole) == len({dataset for dataset, _ in whole})  # labelled and unlabelled add up to one number


def test_subsets_are_parts_of_the_test_cases():
    subsets = {(result.table.dataset, result.table.subset) for result in all_results() if result.table.subset}
    parts = {(name, subset): begin for name in public_names() for subset, begin in find_public(name).subsets.items()}
    assert subsets == {*parts}
    counts = {
        subset: sum(case.startswith(begin) for case in read_list("polyp-test")) for (_, subset), begin in parts.items()
    }
    assert counts == {"Kvasir": 100, "CVC-ClinicDB": 62, "CVC-300": 60}


def test_registered_methods_are_found_by_their_names():
    published = {result.method for result in all_results()}
    assert {"supervised", "ua-mt", "cps", "diff-cl", "uncertainty-dual-network"} <= published & {*METHODS}
    assert all(name == name.lower() and " " not in name for name in published)
    assert {read_published(name).own for name in published_names()} == {*published_names()} <= published


def test_costs_are_apart():
    (cost,) = find_published("la", "ua-mt", kind="cost")
    assert {metric: figure.mean for metric, figure in cost.figures.items()} == {"parameters": 18.88, "macs": 94.80}
    assert is_doubted(cost, "macs") and not is_doubted(cost, "parameters")


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ({"dataset": "pancreas"}, "pancreas-ct"),
        ({"method": "uamt"}, "ua-mt"),
        ({"paper": "semi-gda"}, "semigda"),
        ({"subset": "kvasir"}, "Kvasir"),
    ],
)
def test_an_unknown_name_is_told(asked, hint):
    with pytest.raises(ConfigError, match=hint):
        find_published(**asked)


def test_what_was_not_published_is_no_error():
    assert find_published("la", "cps", 8, paper="diff-cl") == []


def test_an_unknown_paper_is_told():
    with pytest.raises(ConfigError, match="diff-cl"):
        read_published("diffcl")


ROW = {"source": "Table 1", "dataset": "la", "protocol": "la/paper", "share": "10%", "metrics": "dice jaccard"}


@pytest.mark.parametrize("labels", [{"Table 1": {"B": "whole"}}, {"Table 2": {"A": "whole"}}])
def test_labels_of_no_row_are_refused(labels):
    table = ROW | {"rows": {"A": "81 70"}, "kind": "ablation", "method": "p"}
    paper = {"name": "p", "title": "t", "cite": "c", "link": "l", "spread": "none", "own": "p", "tables": [table]}
    assert validate(Paper, paper | {"labels": {"Table 1": {"A": "whole"}}}, "p.yaml").labels
    with pytest.raises(ConfigError, match="of no rows of an ablation"):
        validate(Paper, paper | {"labels": labels}, "p.yaml")


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (ROW | {"rows": {"A": "81.16"}}, "2 cells"),
        (ROW | {"rows": {"A": "81.16 7o.1"}}, "2 cells"),
        (ROW | {"rows": {"A": "81.16 70.1"}, "metrics": "dice iou"}, "iou"),
        (ROW | {"rows": {"A": "81.16 70.1"}, "kind": "ablation"}, "method"),
        (ROW | {"rows": {"A": "81.16 70.1"}, "kind": "cost"}, "share"),
        (ROW | {"rows": {"A": "81 70"}, "doubts": [{"row": "B", "kind": "doubtful", "why": "-"}]}, "about nothing"),
        (
            ROW | {"rows": {"A": "81 70"}, "doubts": [{"row": "A", "metrics": "asd", "kind": "doubtful", "why": "-"}]},
            "about nothing",
        ),
    ],
)
def test_a_wrong_table_is_refused(table, complaint):
    paper = {"name": "p", "title": "t", "cite": "c", "link": "l", "spread": "none", "own": "p", "tables": [table]}
    with pytest.raises(ConfigError, match=complaint):
        validate(Paper, paper, "p.yaml")
