from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from rich.console import Console

from fewmask.data.image import Geometry, write_image
from fewmask.errors import ConfigError, DataError
from fewmask.metrics import DEFINITIONS, Evaluation, Row, evaluate, metric_names, score
from helpers import write_dataset

NAMES = ("background", "left", "right")
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


def save(path, data, affine=AFFINE):
    write_image(path, data.astype(np.uint8), Geometry(data.shape, affine))


def label(*boxes):
    data = np.zeros((10, 9, 8), np.uint8)
    for value, start, stop in boxes:
        data[start:stop, 2:6, 2:6] = value
    return data


@pytest.fixture
def folders(tmp_path):
    """Case a: both classes found; b: `right` is missed and `left` exact; c: `right` in neither, `left` spurious."""
    truth = {"a": label((1, 1, 4), (2, 6, 9)), "b": label((1, 1, 4), (2, 6, 9)), "c": label()}
    guess = {"a": label((1, 1, 5), (2, 6, 9)), "b": label((1, 1, 4)), "c": label((1, 1, 2))}
    for name, data in truth.items():
        save(tmp_path / "truth" / f"{name}.nii.gz", data)
    for name, data in guess.items():
        save(tmp_path / "guess" / f"{name}.mha", data)
    return tmp_path / "guess", tmp_path / "truth", guess, truth


def test_rows_match_score_across_formats(folders):
    predictions, reference, guess, truth = folders
    got = evaluate(predictions, reference, NAMES, nsd_tolerance=1.5)
    assert [(row.case, row.class_name, row.status) for row in got.rows] == [
        ("a", "left", "found"),
        ("a", "right", "found"),
        ("b", "left", "found"),
        ("b", "right", "missed"),
        ("c", "left", "spurious"),
        ("c", "right", "absent"),
    ]
    for row in got.rows:
        value = NAMES.index(row.class_name)
        expected = score(guess[row.case] == value, truth[row.case] == value, (1.0, 2.0, 3.0), 1.5)
        assert row.metrics == pytest.approx(expected)


def test_voxel_unit_ignores_the_spacing(folders):
    predictions, reference, guess, truth = folders
    row = evaluate(predictions, reference, NAMES, unit="voxel").rows[0]
    assert row.metrics == score(guess["a"] == 1, truth["a"] == 1)


def test_names_from_the_values_found(folders):
    predictions, reference, _, _ = folders
    save(reference / "c.nii.gz", label((5, 6, 9)))
    got = evaluate(predictions, reference)
    assert got.class_names == ("class_1", "class_2", "class_5")
    assert [row.status for row in got.rows if row.class_name == "class_5"] == ["absent", "absent", "missed"]


def test_missing_predictions_are_named_or_counted(folders):
    predictions, reference, _, _ = folders
    (predictions / "b.mha").unlink()
    with pytest.raises(DataError, match=r"no prediction of 1 case: b; .*--allow-missing"):
        evaluate(predictions, reference, NAMES)
    got = evaluate(predictions, reference, NAMES, allow_missing=True)
    assert got.missing == ("b",)
    assert {row.status for row in got.rows if row.case == "b"} == {"missed"}
    assert len(evaluate(predictions, reference, NAMES, cases=["a"]).rows) == 2


def test_extra_predictions_are_reported(folders):
    predictions, reference, _, _ = folders
    save(predictions / "z.mha", label())
    (predictions / ".hidden.nii.gz").touch()
    (predictions / "notes.txt").touch()
    assert evaluate(predictions, reference, NAMES).extra == ("z",)
    assert evaluate(predictions, reference, NAMES, cases=["a"]).extra == ()


def test_two_files_and_progress(folders):
    predictions, reference, _, _ = folders
    seen = []
    got = evaluate(predictions / "a.mha", reference / "b.nii.gz", NAMES, progress=lambda *state: seen.append(state))
    assert {row.case for row in got.rows} == {"b"}
    assert seen == [(1, 1)]


def test_bitmaps(tmp_path):
    data = np.zeros((12, 16), np.uint8)
    data[3:7, 4:9] = 1
    write_image(tmp_path / "guess" / "x.png", data, Geometry.plain(data.shape))
    write_image(tmp_path / "truth" / "x.bmp", np.roll(data, 2, axis=1), Geometry.plain(data.shape))
    row = evaluate(tmp_path / "guess", tmp_path / "truth", ("background", "lesion")).rows[0]
    assert row.metrics == score(data, np.roll(data, 2, axis=1))


def test_errors_name_the_file_and_the_remedy(folders, tmp_path):
    predictions, reference, _, truth = folders
    (tmp_path / "empty").mkdir()
    for arguments, options, words in (
        ((tmp_path / "nowhere", reference), {}, "nowhere: there is no such"),
        ((tmp_path / "empty", reference), {}, "holds no label map"),
        ((predictions / "a.mha", reference), {}, "two folders or two files"),
        ((predictions, reference), {"cases": ["a", "q"]}, "no label map of 1 case: q"),
        ((predictions, reference, NAMES[:2]), {}, "value 2, but the classes end at 1"),
    ):
        with pytest.raises(DataError, match=words):
            evaluate(*arguments, **options)
    with pytest.raises(ConfigError, match="tolerance"):
        evaluate(predictions, reference, nsd_tolerance=-1)
    with pytest.raises(ConfigError, match="unit 'cm'"):
        evaluate(predictions, reference, unit="cm")
    save(reference / "a.nrrd", truth["a"])
    with pytest.raises(DataError, match="one case name"):
        evaluate(predictions, reference)


@pytest.mark.parametrize("change", ["shape", "origin"])
def test_grids_must_agree(folders, change):
    predictions, reference, guess, _ = folders
    affine, data = AFFINE.copy(), guess["a"]
    if change == "origin":
        affine[0, 3] = 5.0
    else:
        data = data[1:]
    save(predictions / "a.mha", data, affine)
    advice = "take --geometry scan" if change == "origin" else "resample it"
    with pytest.raises(DataError, match=rf"a\.mha: lies on another grid than .*a\.nii\.gz \(.* {advice}"):
        evaluate(predictions, reference, NAMES)


def made(values, class_names=("left", "right")):
    """An evaluation whose metrics all equal the given value of case and class; None: absent."""
    rows = [
        Row(f"case{i}", name, "absent" if value is None else "found", dict.fromkeys(metric_names(), value))
        for i, case in enumerate(values)
        for name, value in zip(class_names, case, strict=True)
    ]
    return Evaluation(tuple(rows), tuple(class_names), "voxel")


def test_summary_by_hand():
    got = made([(0.2, 0.5), (0.4, None), (0.9, 0.7)]).summary()
    left, right, mean = got["classes"]["left"], got["classes"]["right"], got["mean"]
    assert (left["n"], left["absent"], right["n"], right["absent"]) == (3, 0, 2, 1)
    assert left["metrics"]["dice"] == pytest.approx({"mean": 0.5, "std": np.std([0.2, 0.4, 0.9], ddof=1)})
    assert right["metrics"]["assd"] == pytest.approx({"mean": 0.6, "std": np.std([0.5, 0.7], ddof=1)})
    assert (mean["n"], mean["absent"]) == (3, 1)
    assert mean["metrics"]["dice"] == pytest.approx({"mean": 0.55, "std": np.std([0.35, 0.4, 0.8], ddof=1)})


def test_summary_without_enough_cases_has_none():
    got = made([(0.2, None)]).summary()
    assert got["classes"]["left"]["metrics"]["dice"] == {"mean": 0.2, "std": None}
    assert got["classes"]["right"]["metrics"]["dice"] == {"mean": None, "std": None}
    assert got["mean"]["metrics"]["dice"] == {"mean": 0.2, "std": None}


def test_pooled_overlaps_are_those_of_one_long_case(tmp_path):
    """Cases of unlike sizes, the first without a left side, the last missed."""
    rng, sides = np.random.default_rng(0), (6, 9, 14, 5)
    maps = [[rng.integers(3, size=(side, 8, 7)).astype(np.uint8) for side in sides] for _ in range(2)]
    maps[0][0][maps[0][0] == 1] = maps[1][0][maps[1][0] == 1] = 0
    maps[0][-1][:] = 0
    for folder, images in zip(("found", "true"), maps, strict=True):
        for number, image in enumerate(images):
            write_image(tmp_path / folder / f"{number}.nii.gz", image, Geometry(image.shape, np.eye(4)))
    got = evaluate(tmp_path / "found", tmp_path / "true", NAMES).summary()
    found, true = (np.concatenate([image.ravel() for image in images]) for images in maps)
    for value, name in enumerate(NAMES[1:], start=1):
        mine, theirs = found == value, true == value
        pooled = got["classes"][name]["pooled"]
        assert pooled["dice"] == pytest.approx(2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()), rel=1e-12)
        assert pooled["jaccard"] == pytest.approx(pooled["dice"] / (2 - pooled["dice"]), rel=1e-12)
        assert abs(pooled["dice"] - got["classes"][name]["metrics"]["dice"]["mean"]) > 0.01
    means = [np.mean([got["classes"][name]["pooled"][metric] for name in NAMES[1:]]) for metric in ("dice", "jaccard")]
    assert list(got["mean"]["pooled"].values()) == pytest.approx(means)
    assert made([(None, None)]).summary()["mean"]["pooled"] == {"dice": None, "jaccard": None}


def test_summary_counts_failures(folders):
    got = evaluate(*folders[:2], NAMES).summary()
    keys = ("n", "absent", "missed", "spurious")
    counts = {name: [entry[key] for key in keys] for name, entry in got["classes"].items()}
    assert counts == {"left": [3, 0, 0, 1], "right": [2, 1, 1, 0]}
    assert [got["mean"][key] for key in keys] == [3, 1, 1, 1]


def test_files(folders, tmp_path):
    predictions, reference, _, _ = folders
    save(predictions / "z.mha", label())
    got = evaluate(predictions, reference, NAMES, nsd_tolerance=2)
    got.write(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["scores.csv", "summary.json"]
    with (tmp_path / "run" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "class", "status", *metric_names(2)]
    for written, row in zip(rows, got.rows, strict=True):
        assert (written["case"], written["class"], written["status"]) == (row.case, row.class_name, row.status)
        values = {name: float(written[name]) if written[name] else None for name in got.metric_names}
        assert values == row.metrics
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {key: summary[key] for key in ("classes", "mean")} == got.summary()
    assert summary["definitions"] == DEFINITIONS
    assert (summary["unit"], summary["nsd_tolerance"], summary["cases"]) == ("mm", 2, 3)
    assert summary["extra_predictions"] == ["z"]
    assert summary["fewmask"]


def rendered(evaluation, width):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(evaluation.table())
    return capture.get()


def test_table_of_few_classes():
    text = rendered(made([(0.25, 0.5), (0.75, None)]), 80)
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert "50.00 ± 35.36" in lines["Dice,"]
    assert "0.50 ± 0.35" in lines["ASD,"]
    assert lines["n"].split() == ["n", "2", "1", "2"]
    assert lines["absent"].split() == ["absent", "0", "1", "1"]
    assert "ASSD, voxel" in text and "HD95 directed, voxel" in text
    assert "…" not in text


def test_table_of_one_class_has_no_mean_and_a_dash_for_nothing():
    text = rendered(made([(None,), (None,)], ("left",)), 80)
    assert "all classes" not in text
    assert next(line for line in text.splitlines() if "Dice" in line).split() == ["Dice,", "%", "–"]


def test_table_of_many_classes():
    names = tuple(f"organ {i}" for i in range(9))
    text = rendered(made([[0.125] * 9, [0.875] * 9], names), 90)
    assert (
        "50.0" in text
        and "± 53.0" in text
        and "0 / 0 / 0" in text
        and "all classes" in text
        and "distances in voxel" in text
    )
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 90


def test_the_labels_of_a_dataset_folder_are_references(tmp_path):
    root = write_dataset(tmp_path / "data", cases=2, test=1, dims=2)
    predictions = tmp_path / "predictions"
    for path in (*root.glob("labelsTr/*"), *root.glob("labelsTs/*")):
        predictions.mkdir(exist_ok=True)
        (predictions / path.name).write_bytes(path.read_bytes())
    result = evaluate(predictions, root, cases=["case_001", "test_000"])
    assert [row.case for row in result.rows] == ["case_001", "test_000"]
    assert all(row.metrics["dice"] == 1 for row in result.rows)


@pytest.mark.parametrize("mark", [".seg", "_seg", ".label", "_mask", "-gt"])
def test_references_with_a_mark_behind_their_names(tmp_path, mark):
    for number in range(2):
        label = np.zeros((4, 3, 2), np.uint8)
        label[number] = 1
        for folder, name in (("p", f"c{number}"), ("r", f"c{number}{mark}")):
            write_image(tmp_path / folder / f"{name}.nrrd", label, Geometry.plain(label.shape))
    result = evaluate(tmp_path / "p", tmp_path / "r")
    assert [(row.case, row.metrics["dice"]) for row in result.rows] == [("c0", 1), ("c1", 1)]
    write_image(tmp_path / "r/c0-label.nrrd", label, Geometry.plain(label.shape))
    with pytest.raises(DataError, match=r"r: c0.*nrrd and c0.*nrrd are of one case; remove one of them"):
        evaluate(tmp_path / "p", tmp_path / "r")
