"""Scores are read from run folders, and what cannot be compared is refused."""

import csv
import shutil

import numpy as np
import pytest

from fewmask.bench.case_scores import collect, group_runs
from fewmask.errors import ConfigError, RunError
from fewmask.metrics.evaluation import Evaluation, Row
from fewmask.metrics.score import DISTANCES, metric_names
from fewmask.run_folder import RunFolder
from helpers import edit_json, write_dataset
from report.fake_runs import write_run

CASES = ("one", "two", "three")


def put_scores(run, dice, classes=("organ",), unit="mm"):
    """``{case: {class: value}}``; None is absent."""
    rows = []
    for case in sorted(dice):
        for name in classes:
            value = dice[case][name]
            metrics = {m: (None if value is None else 3.0 if m in DISTANCES else value) for m in metric_names()}
            rows.append(Row(case, name, "absent" if value is None else "found", metrics))
    Evaluation(tuple(rows), tuple(classes), unit).write(RunFolder(run).predictions, overwrite=True)


def plain(*values):
    return {case: {"organ": value} for case, value in zip(CASES, values, strict=True)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "Dataset001_Toy", test=2)


@pytest.fixture
def make(root, tmp_path):
    def make(name, method="supervised", seed=0, dice=None, **settings):
        train = {"iterations": 60, "seed": seed, **settings.pop("train", {})}
        run = write_run(tmp_path / name, root, method, scored=False, train=train, **settings)
        put_scores(run, dice or plain(0.8, 0.6, None))
        return run

    return make


def test_methods_seeds_and_cases(make):
    runs = [
        make("b1", "cps", 1, plain(0.7, None, 0.5)),
        make("b0", "cps", 0, plain(0.9, 0.8, 0.1)),
        make("a0", "supervised", 0, plain(0.4, 0.3, None)),
    ]
    scores = collect(runs)
    assert scores.cases == tuple(sorted(CASES)) and scores.methods == ("cps", "supervised")
    assert scores.seeds == {"cps": (0, 1), "supervised": (0,)}
    np.testing.assert_array_equal(scores.of("cps"), [[0.9, 0.1, 0.8], [0.7, 0.5, np.nan]])
    np.testing.assert_array_equal(scores.of("supervised"), [[0.4, np.nan, 0.3]])
    np.testing.assert_allclose(scores.by_case("cps"), [0.8, 0.3, 0.8])
    np.testing.assert_allclose(scores.by_seed("cps"), [0.6, 0.6])
    assert scores.setting.dataset == RunFolder(runs[0]).dataset()["name"] and scores.setting.validation == 1
    assert scores.unit == "mm" and collect(runs, "hd95").higher_is_better is False


def test_what_an_evaluation_wrote_is_what_is_read(root, tmp_path):
    run = write_run(tmp_path / "run", root, shift=1)
    with (run / "predictions" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (name,) = {row["class"] for row in rows}
    scores = collect([run], "hd95", name)
    expected = [float(row["hd95"]) for row in sorted(rows, key=lambda row: row["case"])]
    np.testing.assert_array_equal(scores.of("supervised"), [expected])


def test_classes_alone_and_together(make):
    run = make("run")
    both = {"one": {"a": 0.8, "b": 0.4}, "two": {"a": None, "b": 0.5}, "three": {"a": None, "b": None}}
    put_scores(run, both, ("a", "b"))
    np.testing.assert_allclose(collect([run]).of("supervised"), [[0.6, np.nan, 0.5]])  # one, three, two
    np.testing.assert_array_equal(collect([run], class_name="a").of("supervised"), [[0.8, np.nan, np.nan]])
    with pytest.raises(ConfigError, match="hold no 'c'"):
        collect([run], class_name="c")
    with pytest.raises(ConfigError, match="did you mean 'dice'"):
        collect([run], "dise")


def test_shortcuts_of_any_run_are_told(make):
    run = make("run")
    edit_json(run / "split.json", shortcuts=["reference-crop", "voxel-units"])
    assert collect([run]).shortcuts == ("reference-crop",)  # distances are in mm
    put_scores(run, plain(0.8, 0.6, 0.7), unit="voxel")
    assert collect([run]).shortcuts == ("reference-crop", "voxel-units")


def test_groups_by_setting(make):
    first, second, third = make("a"), make("b", seed=1), make("c", "cps")
    split = RunFolder(second).split()
    edit_json(
        second / "split.json", labelled=list(split.labelled[1:]), unlabelled=[*split.unlabelled, split.labelled[0]]
    )
    groups = group_runs([first, second, third])
    assert sorted(map(len, groups.values())) == [1, 2]
    assert {setting.labelled: paths for setting, paths in groups.items()} == {
        len(split.labelled): [first, third],
        len(split.labelled) - 1: [second],
    }
    with pytest.raises(RunError, match="runs of one setting"):
        collect([first, second])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda make: put_scores(make("b", "cps"), {**plain(0.1, 0.2, 0.3), "four": {"organ": 0.1}}),
            "test cases .four.",
        ),
        (lambda make: put_scores(make("b", "cps"), plain(0.1, 0.2, 0.3), unit="voxel"), "units .mm, voxel."),
        (lambda make: put_scores(make("b", "cps"), {c: {"x": 1} for c in CASES}, ("x",)), "classes .organ, x."),
        (lambda make: make("b"), "same method with the same seeds"),
        (lambda make: make("b", seed=1, train={"lr": 0.5}), "other settings .train.lr."),
        (lambda make: shutil.rmtree(make("b", "cps") / "predictions"), "was not scored"),
    ],
)
def test_what_cannot_be_compared_is_refused(make, tmp_path, change, complaint):
    first = make("a")
    change(make)
    with pytest.raises(RunError, match=complaint):
        collect([first, tmp_path / "b"])


def test_settings_that_change_no_result_may_differ(make):
    assert collect([make("a"), make("b", seed=1, train={"log_every": 7})]).seeds == {"supervised": (0, 1)}


def test_no_run_is_told(tmp_path):
    with pytest.raises(RunError, match="no run to compare"):
        collect([])
    with pytest.raises(RunError, match="not a run folder"):
        collect([tmp_path])
