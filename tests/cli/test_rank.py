import csv
import json
import re
import shutil

import numpy as np
import pytest

from fewmask.data.image import read_image, read_label
from fewmask.inference.predictor import Predictor
from helpers import write_dataset


@pytest.fixture(scope="module")
def ranked(cli, runs, place, train_words):
    """Two runs, and what is ranked with them; the labels that their split hides are nonsense."""
    assert cli(*train_words("heart", "runs/heart-seed1", "--method", "supervised", "--set", "train.seed=1")).code == 0
    hidden = json.loads((runs / "heart/split.json").read_text())["unlabelled"]
    shutil.copytree(place / "heart", place / "closed", ignore=shutil.ignore_patterns(".fewmask"))
    for path in [path for case in hidden if (path := place / f"closed/labelsTr/{case}.nii.gz").exists()]:
        path.write_bytes(b"nobody may open this")
    shutil.copy(place / "closed/imagesUn/extra_000_0000.nii.gz", place / "closed/imagesUn/twin_000_0000.nii.gz")
    outcome = cli("rank", "runs/heart", "runs/heart-seed1", "closed", "--output", "out/rank", "--top", "2")
    assert outcome.code == 0, outcome.err
    return place / "out/rank", outcome, [*hidden, "twin_000"]


def table(folder):
    with (folder / "rank.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_unlabelled_scan_has_a_place_and_numbers_that_can_be_recomputed(ranked, place):
    folder, _, unlabelled = ranked
    rows = table(folder)
    assert sorted(row["case"] for row in rows) == sorted(unlabelled)
    assert [row["rank"] for row in rows] == [str(n) for n in range(1, len(rows) + 1)]
    predictors = [Predictor.from_run(place / f"runs/{name}", device="cpu") for name in ("heart", "heart-seed1")]
    for row in rows:
        scan = read_image(next(place.glob(f"closed/images*/{row['case']}_0000.nii.gz")))
        made = [predictor.predict(scan) for predictor in predictors]
        doubts = []
        for one in made:
            region = (one.labels > 0) | (one.uncertainty >= 0.286)
            doubts.append(one.uncertainty[region].mean() if region.any() else 0)
        assert float(row["entropy"]) == pytest.approx(np.mean(doubts), rel=1e-4)
        first, second = (one.labels > 0 for one in made)
        total = first.sum() + second.sum()
        assert float(row["disagreement"]) == pytest.approx(
            1 - 2 * (first & second).sum() / total if total else 0, abs=1e-5
        )
        assert int(row["foreground"]) == first.sum()


def test_of_two_copies_one_comes_last_and_is_told(ranked):
    last = table(ranked[0])[-1]
    assert {last["case"], last["nearest"]} == {"extra_000", "twin_000"} and float(last["novelty"]) == 0


def test_page_table_and_json_say_the_same(ranked):
    folder, outcome, _ = ranked
    rows, values = table(folder), json.loads((folder / "rank.json").read_text())
    assert [scan["case"] for scan in values["scans"]] == [row["case"] for row in rows]
    assert values["models"] == ["heart", "heart-seed1"] and values["by"] == "combined"
    page = (folder / "rank.html").read_text()
    assert len(re.findall(r'<svg class="scan"', page)) == 2
    assert re.findall(r'<th scope="row">([^<]+)</th>', page) == [row["case"] for row in rows]
    assert not re.search(r"<script|https?://|src=|url\(", page)
    assert "Label first" in outcome.out and rows[0]["case"] in outcome.out
    assert sorted(path.name for path in folder.iterdir()) == ["rank.csv", "rank.html", "rank.json"]


def test_next_is_a_first_draft_of_its_label(ranked, cli, place):
    _, outcome, _ = ranked
    assert cli(*outcome.next).code == 0
    assert read_label(place / outcome.next[-1] / f"{table(ranked[0])[0]['case']}.nii.gz").data.ndim == 3


@pytest.mark.parametrize("by", ["entropy", "disagreement", "diversity"])
def test_orders(ranked, cli, by):
    outcome = cli("rank", "runs/heart", "runs/heart-seed1", "closed", "-o", f"out/by-{by}", "--by", by, "--json")
    scans = json.loads(outcome.out)["scans"]
    key = {"diversity": "novelty"}.get(by, by)
    values = [scan[key] for scan in scans]
    assert values == sorted(values, reverse=True) and len({*values}) > 1


def test_pictures_of_rgb_photographs_with_three_classes(cli, runs, place):
    outcome = cli("rank", "runs/skin", "skin", "--by", "diversity")
    assert outcome.code == 0, outcome.err
    assert "data:image/" in (runs / "skin/rank/rank.html").read_text()


def test_networks_of_one_run_are_compared(cli, place, train_words):
    words = train_words("skin", "runs/pair", "--method", "cps", "--set", "method.predict_with=mean", dims=2)
    assert cli(*words).code == 0
    values = json.loads(cli("rank", "runs/pair", "skin", "--by", "disagreement", "--json").out)
    assert values["models"] == ["pair 1", "pair 2"] and max(scan["disagreement"] for scan in values["scans"]) > 0


def test_what_cannot_be_ranked_is_refused(cli, runs, place, tmp_path):
    write_dataset(tmp_path / "other", cases=2, unlabelled=1, channels=2)
    for words, code, text in (
        (("runs/heart", "heart", "--by", "disagreement"), 2, "give several runs"),
        (("runs/heart", tmp_path / "other"), 1, "has a number of channels that is 2, but the run was trained on 1"),
        (("runs/heart", "runs/heart", "heart"), 1, "is given 2 times"),
        (("nothing", "heart"), 1, "is not a run folder"),
    ):
        outcome = cli("rank", *words)
        assert outcome.code == code and text in outcome.err, outcome.err
