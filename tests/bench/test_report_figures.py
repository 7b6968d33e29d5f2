"""What the plots of the bench report are drawn from."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench.fake_bench import dice_of, write_bench
from fewmask.bench.report.content import read_bench
from fewmask.bench.report.cost import cost_plot
from fewmask.bench.report.figures import case_plot, efficiency_plot, rank_plot
from fewmask.report.html import template
from fewmask.report.labels import place_labels
from fewmask.report.svg import COLOURS, palette, standalone
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


def renamed(bench, count):
    """The first section with more labels than there are colours, all with the scores and the time of three runs, a little moved."""
    section = bench.sections[0]
    names = [f"method-{number}" for number in range(count)]
    dice = section.scores["dice"]
    values = {name: dice.values[LABELS[n % 3]] + 0.004 * n for n, name in enumerate(names)}
    runs = {
        name: (replace(section.runs[LABELS[n % 3]][0], name=name, index=n, seconds=60.0 + 90 * n % 700),)
        for n, name in enumerate(names)
    }
    scores = {"dice": replace(dice, values=values, seeds=dict.fromkeys(names, (0,)))}
    return replace(section, scores=scores, runs=runs)


def test_every_point_of_cost_has_its_name_and_a_marker_of_its_kind(bench):
    section = renamed(bench, 20)
    plot = cost_plot(section, "dice", "cost")
    assert [name for name in words(plot.figure) if name.startswith("method-")] == list(section.labels)
    assert "minutes of training, logarithmic" in words(plot.figure)
    assert "minutes of training" in words(cost_plot(renamed(bench, 2), "dice", "cost").figure)
    shapes = re.findall(r'<g id="cost-PathCollection_\d+">.*?<path id="[^"]*" d="([^"]*)"', plot.figure, re.DOTALL)
    assert len(shapes) == 20 and ["C" in shape for shape in shapes] == [True] * COLOURS + [False] * 8


def test_cost_has_bars_for_a_few_methods_only(bench):
    for count, bars in ((8, 8), (9, 0)):
        section = renamed(bench, count)
        dice = section.scores["dice"]
        twice = {name: np.concatenate([values, values - 0.1]) for name, values in dice.values.items()}
        scores = {"dice": replace(dice, values=twice, seeds=dict.fromkeys(twice, (0, 1)))}
        plot = cost_plot(replace(section, scores=scores), "dice", "cost")
        assert len(re.findall(r'<g id="cost-LineCollection_\d+">', plot.figure)) == bars


def test_dashes_and_markers_of_a_page_are_those_of_its_plots():
    found = template("report.html").environment.globals
    assert 'class="swatch on-0 kind-0"' in found["swatch"](0)
    assert 'class="line on-1 kind-1"' in found["line"](COLOURS + 1)
    assert 'class="swatch on-2 kind-2"' in found["swatch"](2 * COLOURS + 2)


def test_ticks_of_many_ranks_do_not_run_together(bench):
    for count, ticks in ((5, "1 2 3 4 5"), (20, "1 5 10 15 20")):
        section = renamed(bench, count)
        drawn = words(rank_plot(section, section.ranking, "ranks").figure)
        assert [text for text in drawn if text.isdigit()] == ticks.split()


def test_names_cover_neither_each_other_nor_the_points():
    rng = np.random.default_rng(4)
    points = rng.uniform((60, 60), (300, 400), (20, 2))
    points[7:12] = points[7] + np.arange(5)[:, None] * (6, 1)  # five in a row, nearer than their names are wide
    sizes = [(rng.uniform(30, 150), 12.0) for _ in points]
    area = (40.0, 40.0, 336.0, 460.0)
    boxes = []
    for (x, y), (width, height) in zip(place_labels(points, sizes, area), sizes, strict=True):
        boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        assert boxes[-1][0] >= area[0] - 1e-6 and boxes[-1][2] <= area[2] + 1e-6
        assert boxes[-1][1] >= area[1] - 1e-6 and boxes[-1][3] <= area[3] + 1e-6
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            assert min(box[2], other[2]) <= max(box[0], other[0]) or min(box[3], other[3]) <= max(box[1], other[1])
        assert not any(box[0] < x < box[2] and box[1] < y < box[3] for x, y in points)


def test_a_name_is_nearest_to_its_own_point():
    points = np.array([(80, 260), (249, 117), (270, 74), (141, 96), (168, 251), (115, 72)], float)
    centres = np.array(place_labels(points, [(60.0, 12.0)] * 6, (0, 0, 360, 360)))
    half = np.array((30.0, 6.0))
    for number, centre in enumerate(centres):
        ends = np.clip(points, centre - half, centre + half)
        assert np.linalg.norm(ends - points, axis=1).argmin() == number
