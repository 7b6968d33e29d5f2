"""Every verb that writes: what is there with other contents stays until --overwrite or --replace is said; the same again asks nothing."""

import os
import shutil

import pytest

from helpers import edit_json, write_dataset


@pytest.fixture(scope="module")
def seconds(place, cli, train_words):
    """Two runs of the 2D data set that predict differently."""
    for seed in (0, 1):
        words = train_words("skin", f"again/{seed}", "--seed", seed, dims=2)
        assert cli(*words).code == 0
    return place / "again"


def files(folder):
    """Every file below a folder with its bytes and its time; locks and the stores of prepared scans are no results."""
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and ".fewmask" not in path.parts
    }


VERBS = {
    "predict": ("predict again/{} skin/imagesTs {out} --probabilities --uncertainty", "--overwrite"),
    "predict to a file": ("predict again/{} skin/imagesTs/test_000_0000.png {out}/x.png", "--overwrite"),
    "evaluate": ("evaluate again/0/maps{} skin/labelsTs --output {out}", "--overwrite"),
    "rank": ("rank again/{} skin --output {out}", "--overwrite"),
    "rank by": ("rank again/0 skin --by {by} --output {out}", "--overwrite"),
    "export weights": ("export again/{} {out}/m.safetensors", "--overwrite"),
    "thumbnails": ("check again/data{} --thumbnails {out}", "--overwrite"),
}
FIRST = {"thumbnails": "index.png", "evaluate": "scores.csv"}


@pytest.fixture(scope="module")
def inputs(place, cli, seconds):
    for seed in (0, 1):
        assert cli("predict", f"again/{seed}", "skin/imagesTs", f"again/0/maps{seed}").code == 0
        write_dataset(seconds / f"data{seed}", 2, dims=2, seed=seed, ending=".png")


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_there_stays(cli, place, inputs, verb):
    command, option = VERBS[verb]
    out = place / "kept" / verb.replace(" ", "-")

    def call(second, *more):
        told = command.format(second, out=out.relative_to(place), by=("entropy", "diversity")[second])
        return cli(*told.split(), *more)

    assert call(0).code == 0
    before = files(out)
    again = call(0)
    pages = {path for path in before if path.suffix == ".html"}
    assert again.code == 0, again.err
    assert {path: before[path] for path in {*before} - pages} == {path: files(out)[path] for path in {*before} - pages}
    refused = call(1)
    assert refused.code == 1 and refused.out == "" and refused.err.startswith(f"error: {out.relative_to(place)}/"), (
        refused
    )
    assert f"add {option}" in refused.err and refused.err.count("\n") == 1
    assert {path: content for path, (content, _) in files(out).items()} == {
        path: content for path, (content, _) in before.items()
    }
    assert call(1, option).code == 0
    assert {*files(out)} == {*before} and files(out) != before


def test_split(cli, place):
    words = ("split", "skin", "--labelled", "2", "--name", "taken")
    assert cli(*words).code == 0
    before = (place / "skin/splits.json").read_bytes()
    assert cli(*words).code == 0 and (place / "skin/splits.json").read_bytes() == before
    refused = cli(*words, "--seed", "1")
    assert (
        refused.code == 1
        and refused.out == ""
        and "skin/splits.json: has another split 'taken'; add --replace" in refused.err
    )
    assert (place / "skin/splits.json").read_bytes() == before
    assert cli(*words, "--seed", "1", "--replace").code == 0 and (place / "skin/splits.json").read_bytes() != before


def test_labels_corrected_in_a_pseudo_labelled_data_set_are_kept(cli, place, seconds):
    words = ("pseudo-label", "again/0", "skin", "again/Dataset101_Pseudo")
    assert cli(*words).code == 0
    root = seconds / "Dataset101_Pseudo"
    before = files(root)
    assert cli(*words).code == 0
    assert {path for path in before if files(root)[path][0] != before[path][0]} == set()
    assert cli("split", root, "--labelled", "2", "--name", "mine").code == 0
    assert cli(*words).code == 0 and "mine" in (root / "splits.json").read_text(), "another split stays"
    true = root / "labelsTr/case_000.png"
    hidden = root / "labelsTr/extra_000.png"
    corrected = (place / "skin/labelsTr/case_001.png").read_bytes()
    hidden.write_bytes(corrected)
    assert cli(*words).code == 0 and hidden.read_bytes() == corrected, "a scan that is done is not done again"
    for path in (root / "labelsTr").iterdir():
        path.write_bytes(corrected)
    refused = cli(*words)
    assert refused.code == 1 and "labelsTr/" in refused.err and "add --overwrite" in refused.err
    assert {path.read_bytes() for path in (root / "labelsTr").iterdir()} == {corrected}
    assert cli(*words, "--overwrite").code == 0
    assert hidden.read_bytes() == before[hidden.relative_to(root)][0]
    assert true.read_bytes() == before[true.relative_to(root)][0]


def test_pages_are_made_anew(cli, place, seconds, inputs):
    for _ in range(2):
        assert cli("report", "again/0").code == 0
        os.utime(seconds / "0/report.html", (1, 1))
    (seconds / "0/report.html").write_text("an old page")
    assert cli("report", "again/0").code == 0 and "an old page" not in (seconds / "0/report.html").read_text()


def test_a_case_called_like_the_contact_sheet(cli, place):
    root = write_dataset(place / "index", 2, dims=2)
    for path in (root / "imagesTr/case_000_0000.png", root / "labelsTr/case_000.png"):
        path.rename(path.with_name(path.name.replace("case_000", "index")))
    assert cli("check", "index", "--thumbnails", "sheets").code == 0
    assert sorted(path.name for path in (place / "sheets").iterdir()) == ["case_001.png", "index-.png", "index.png"]


def test_patients_in_doubt_are_asked_for_in_one_line(cli, place, train_words):
    root = write_dataset(place / "numbers", 6, dims=2, channels=3, classes=3)
    for folder, tail in (("imagesTr", "_0000"), ("labelsTr", "")):
        for n in range(6):
            (root / folder / f"case_00{n}{tail}.png").rename(root / folder / f"{n // 2:03d}_{n % 2}{tail}.png")
    for words in (["split", "numbers", "--labelled", "4", "--val", "2"], train_words("numbers", "numbered", dims=2)):
        refused = cli(*words)
        assert refused.code == 2 and refused.out == "" and refused.err.count("\n") == 1, refused
        assert "000_0, 000_1 of '000'" in refused.err and "--patients '^(\\d+)'" in refused.err
    assert not (place / "numbered").exists()
    done = cli(*train_words("numbers", "numbered", "--patients", r"^(\d+)", "--labelled", "4", "--val", "2", dims=2))
    assert done.code == 0, done.err
    refused = cli("train", "numbers", "--split", "x", "--patients", "none", "--output", "x")
    assert refused.code == 2 and "--patients goes without --split" in refused.err


def test_patients_that_ids_tell_are_used_and_said(cli, place, train_words):
    shutil.copytree(place / "numbers", place / "visits", ignore=shutil.ignore_patterns(".fewmask", "splits.json"))
    for path in sorted((place / "visits").glob("*Tr/*")):
        path.rename(path.with_name(f"sub-{path.name.replace('_', '_ses-', 1)}"))
    listed = cli("check", "visits")
    assert listed.code == 0 and "6 of 6 scans are of 3 patients" in " ".join(listed.out.split())
    done = cli("split", "visits", "--labelled", "4", "--val", "2", "--name", "x")
    assert (
        done.code == 0
        and "6 of 6 scans are of 3 patients with several, as sub-000_ses-0, sub-000_ses-1 of 'sub-000'" in done.out
    )
    done = cli(*train_words("visits", "visited", "--labelled", "4", "--val", "2", dims=2))
    assert done.code == 0 and "6 of 6 scans are of 3 patients" in done.out, done.err
    assert "sub-" in (place / "visited/split.json").read_text()
    edit_json(place / "visits/dataset.json", patients="none")
    assert "patients" not in cli("split", "visits", "--labelled", "4", "--val", "2", "--name", "y").out
