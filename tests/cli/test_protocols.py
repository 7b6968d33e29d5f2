"""Public data sets and their protocols on the command line."""

import json

import pytest
import yaml

from fewmask.data.protocols import find_public, public_names
from fewmask.data.protocols.shelf import read_list
from fewmask.data.protocols.shortcuts import SENTENCES
from helpers import edit_json, write_dataset
from program import tiny


@pytest.fixture(scope="module")
def skin_lesions(place):
    """What PH2 would be, with five cases: nobody published a list, so any names do."""
    write_dataset(place / "ph2", cases=5, dims=2, channels=3)
    edit_json(place / "ph2/dataset.json", shortcuts=["reference-crop", "voxel-units"])
    return place / "ph2"


@pytest.fixture(scope="module")
def trained(cli, skin_lesions):
    words = [*tiny(2), "--set", "preprocess.size=null", "--set", "inference.stride=[32, 32]"]
    outcome = cli("train", "ph2", "--protocol", "ph2/paper", "--labelled", "2", "-o", "runs/ph2", *words)
    assert outcome.code == 0, outcome.err
    return outcome


def test_datasets_are_listed_with_licence_and_link(cli):
    outcome = cli("datasets")
    assert outcome.code == 0 and cli(*outcome.next).code == 0
    for name in public_names():
        known = find_public(name)
        assert known.title in outcome.out and f"licence: {known.licence}" in outcome.out
        assert all(url in outcome.out for url in known.home.values())
    assert [row["name"] for row in json.loads(cli("datasets", "--json").out)] == public_names()


@pytest.mark.parametrize("name", public_names())
def test_card_says_what_the_papers_leave_out(cli, name):
    known = find_public(name)
    outcome = cli("datasets", "show", name)
    values = json.loads(cli("datasets", "show", name, "--json").out)
    assert outcome.code == 0 and outcome.next == ["convert", name, "RAW", "DATASET"]
    for short, protocol in known.protocols.items():
        assert f"Protocol {name}/{short}: {protocol.about}" in outcome.out
        assert values["protocols"][short]["settings"] == known.settings_of(protocol)
        for shortcut in protocol.shortcuts:
            assert SENTENCES[shortcut] in outcome.out
    for lists in known.lists.values():
        assert lists.source in outcome.out


def test_card_counts_the_published_cases(cli):
    assert "[train 80, test 20]" in cli("datasets", "show", "la").out
    lists = json.loads(cli("datasets", "show", "brats2019", "--json").out)["lists"]
    assert lists["ssl4mis"]["counts"] == {"train": 250, "validation": 25, "test": 60}


@pytest.mark.filterwarnings("always::fewmask.errors.FewmaskWarning")
def test_split_by_protocol(cli, place):
    train, test = read_list("la-train")[:5], read_list("la-test")[:2]
    write_dataset(place / "atrium", cases=5, test=2)
    for folder, stem, names in (("Tr", "case", train), ("Ts", "test", test)):
        for number, name in enumerate(names):
            for file in (place / "atrium").glob(f"*{folder}/{stem}_{number:03d}*"):
                file.rename(file.with_name(file.name.replace(f"{stem}_{number:03d}", name)))
    outcome = cli("split", "atrium", "--protocol", "la/paper", "--labelled", "4")
    assert outcome.code == 0 and "lacks 93 published cases of 100" in outcome.err
    assert "saved as 'la-paper-4'" in outcome.out and SENTENCES["reference-crop"] in outcome.out
    assert "note: " in outcome.out
    assert outcome.next[2:6] == ["--split", "la-paper-4", "--protocol", "la/paper"]
    saved = json.loads((place / "atrium/splits.json").read_text())["splits"]["la-paper-4"]
    assert saved["labelled"] == train[:4] and saved["test"] == test and saved["protocol"] == "la/paper"
    seeded = json.loads(
        cli("split", "atrium", "--protocol", "la/paper", "--labelled", "40%", "--seed", "2", "--json").out
    )
    assert seeded["name"] == "la-paper-40percent-seed2" and len(seeded["labelled"]) == 2


def test_train_by_protocol_takes_its_cases_and_settings(trained, place):
    config = yaml.safe_load((place / "runs/ph2/config.yaml").read_text())
    split = json.loads((place / "runs/ph2/split.json").read_text())
    assert config["evaluation"]["unit"] == "voxel" and config["sampling"]["margin"] == 0
    assert config["sampling"]["patch_size"] == [32, 32], "--set comes on top of the protocol"
    assert [len(split[part]) for part in ("labelled", "unlabelled", "test")] == [2, 2, 1]
    assert trained.next == ["predict", "runs/ph2", "ph2", "runs/ph2/predictions", "--part", "test"]


def test_drawn_test_cases_are_predicted_and_scored_alone_under_a_stamp(trained, cli, place):
    predicted = cli(*trained.next)
    test = json.loads((place / "runs/ph2/split.json").read_text())["test"]
    assert predicted.code == 0 and [path.stem for path in (place / "runs/ph2/predictions").glob("*.png")] == test
    scored = cli(*predicted.next)
    assert scored.code == 0, scored.err
    stamp = f"shortcuts taken: {SENTENCES['reference-crop']}; {SENTENCES['voxel-units']}"
    assert stamp in " ".join(scored.out.split())
    in_mm = json.loads(cli(*predicted.next, "--unit", "mm", "--json", "-o", "elsewhere").out)
    assert in_mm["shortcuts"] == ["reference-crop"]
    summary = json.loads((place / "runs/ph2/predictions/summary.json").read_text())
    assert summary["shortcuts"] == ["reference-crop", "voxel-units"] and summary["cases"] == 1
    reported = cli("report", "runs/ph2")
    assert reported.code == 0 and SENTENCES["reference-crop"] in (place / "runs/ph2/report.html").read_text()


def test_a_run_without_shortcuts_has_no_stamp(cli, runs, place):
    assert cli("predict", "runs/skin", "skin/imagesTs", "runs/skin/predictions", "--overwrite").code == 0
    scored = cli("evaluate", "runs/skin/predictions", "skin/labelsTs", "--overwrite")
    assert scored.code == 0 and "shortcuts" not in scored.out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["datasets", "show", "ladata"], 2, "there is no public data set 'ladata'"),
        (["datasets", "la"], 2, "`fewmask datasets show la`"),
        (["split", "skin", "--protocol", "la/papre"], 2, "did you mean 'la/paper'?"),
        (["split", "heart", "--protocol", "la/paper"], 1, "heart: holds no labelled training case of Left atrium"),
        (["split", "skin", "--protocol", "ph2/paper", "--ordered"], 2, "leave --ordered and --patients out"),
        (["split", "skin", "--lists", "mcf"], 2, "--lists needs --protocol"),
        (["train", "skin", "-o", "x", "--lists", "mcf"], 2, "--lists goes with --protocol"),
        (["predict", "runs/skin", "skin/imagesTr", "o", "--part", "test"], 1, "holds none of the 2 scans"),
        (["evaluate", "skin/labelsTs", "skin/labelsTs", "--part", "test"], 1, "skin is not a run folder"),
    ],
)
def test_wrong_words(cli, runs, words, code, text):
    outcome = cli(*words)
    assert outcome.code == code and text in outcome.err and len(outcome.err.splitlines()) == 1
