"""What the plots of the bench report are drawn from."""

import re

import numpy as np
import pytest
from scipy import stats

from bench.fake_bench import dice_of, write_bench
from fewmask.bench.report.content import read_bench
from fewmask.bench.report.figures import case_plot, cost_plot, efficiency_plot, rank_plot
from fewmask.report.svg import palette, standalone
from helpers import write_dataset

CASES = 8
LABELS = ("supervised", "cps", "half-cps")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    root = write_dataset(tmp_path_factory.mktemp("data") / "Dataset001_Blobs", dims=2, cases=4, test=CASES)
    folder = tmp_path_factory.mktemp("bench")
    runs = write_bench(folder, root, CASES, seeds=(0,))
    return read_bench([*runs, *write_bench(folder, root, CASES, labels=LABELS[:2], seeds=(0,), amounts=(3,))])


def words(figure):
    return [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", figure)]


def test_ranks_are_those_of_scipy_and_sorted(bench):
    section = bench.sections[0]
    table = np.array([dice_of(label, 0, CASES) for label in LABELS])
    average = dict(zip(LABELS, stats.rankdata(-table, axis=0).mean(axis=1), strict=True))
    plot = rank_plot(section, section.ranking, "ranks")
    shown = [text.split() for text in words(plot.figure) if text.split()[0] in LABELS]
    assert shown == [[label, f"{average[label]:.2f}"] for label in sorted(LABELS, key=average.__getitem__)]
    assert f"critical difference {section.ranking.critical_difference:.2f}" in words(plot.figure)


def test_a_label_with_one_number_of_labels_has_no_curve(bench):
    plot = efficiency_plot(bench.sections, "dice", "efficiency")
    shown = words(plot.figure)
    assert {"supervised", "cps", "2", "3", "labelled cases"} <= {*shown} and "half-cps" not in shown
    assert efficiency_plot(bench.sections[:1], "dice", "efficiency") is None


def test_every_label_keeps_its_colour_in_all_figures(bench):
    section = bench.sections[0]
    for plot in (case_plot(section, "dice", "cases"), cost_plot(section, "dice", "cost")):
        colours = {*re.findall(r"var\(--run-\d+\)", plot.figure)}
        assert colours == {f"var(--run-{bench.index(label)})" for label in LABELS}
        drawn = standalone(plot.figure, "a < b")
        assert palette()["--run-1"] in drawn and "var(" not in drawn and "a &lt; b" in drawn
    assert palette(dark=True)["--run-1"] != palette()["--run-1"]
    assert {f"--run-{number}" for number in range(12)} <= palette().keys() & palette(dark=True).keys()
