import csv
import hashlib
import json
import shutil

import nibabel
import numpy as np
import pytest

import nnunet_rules
from fewmask.data.dataset import Dataset
from fewmask.data.image import read_image, read_label
from fewmask.data.roles import roles_of
from fewmask.inference.predictor import Predictor
from fewmask.inference.pseudo_dataset import Choice, _describe
from fewmask.inference.pseudo_rows import Row
from helpers import edit_json, write_dataset
from program import tiny


def digests(folder):
    """Contents of every file of a folder by name, but for the store of prepared cases."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".fewmask" not in path.parts
    }


def table_of(folder):
    with (folder / "pseudo_labels.csv").open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def split(runs):
    return json.loads((runs / "heart/split.json").read_text())


@pytest.fixture(scope="module")
def made(cli, runs, place):
    """A pseudo-labelled data set, whose source had nonsense for the labels that the split hides."""
    hidden = json.loads((runs / "heart/split.json").read_text())["unlabelled"]
    shutil.copytree(place / "heart", place / "secret", ignore=shutil.ignore_patterns(".fewmask"))
    closed = [path for case in hidden if (path := place / f"secret/labelsTr/{case}.nii.gz").exists()]
    assert closed
    for path in closed:
        path.write_bytes(b"nobody may open this")
    before = digests(place / "secret")
    outcome = cli("pseudo-label", "runs/heart", "secret", "out/Dataset100_Heart")
    assert outcome.code == 0, outcome.err
    assert digests(place / "secret") == before
    return place / "out/Dataset100_Heart", outcome


def test_nnunet_and_check_take_the_folder(made, cli, split, place):
    folder, _ = made
    cases = [*split["labelled"], *split["validation"], *split["unlabelled"]]
    assert nnunet_rules.check(folder) == sorted(cases) and "extra_000" in cases
    outcome = cli("check", folder, "--json")
    assert outcome.code == 0, outcome.out
    assert sorted(path.name for path in (folder / "imagesTs").iterdir()) == [
        "test_000_0000.nii.gz",
        "test_001_0000.nii.gz",
    ]
    assert (folder / "labelsTs/test_000.nii.gz").read_bytes() == (place / "heart/labelsTs/test_000.nii.gz").read_bytes()


def test_true_labels_are_the_source_s_and_the_others_are_predicted(made, cli, split, place):
    folder, _ = made
    for case in (*split["labelled"], *split["validation"]):
        assert (folder / f"labelsTr/{case}.nii.gz").read_bytes() == (
            place / f"heart/labelsTr/{case}.nii.gz"
        ).read_bytes()
    words = ("predict", "runs/heart", "heart", "out/heart-unlabelled", "--part", "unlabelled", "--probabilities")
    assert cli(*words).code == 0
    for case in split["unlabelled"]:
        label = folder / f"labelsTr/{case}.nii.gz"
        np.testing.assert_array_equal(
            read_label(label).data, read_label(place / f"out/heart-unlabelled/{case}.nii.gz").data
        )
        names = [f"out/heart-unlabelled/probabilities/{case}_{name}.nii.gz" for name in ("background", "class 1")]
        most = np.max([read_image(place / name).data[0] for name in names], axis=0)
        confidence = nibabel.load(folder / f"confidence/{case}.nii.gz")
        assert confidence.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(confidence.get_fdata(), np.floor(most * 255))
        row, found = table_of(folder)[case], read_label(label).data > 0
        assert row["kept"] == "yes" and int(row["foreground"]) == found.sum()
        if found.any():
            assert float(row["confidence"]) == pytest.approx(most[found].mean(), abs=1e-5)
    assert set(table_of(folder)) == set(split["unlabelled"])


def test_another_round_trains_on_it_and_validates_on_true_labels(made, cli, split):
    folder, outcome = made
    assert outcome.next == ["train", "out/Dataset100_Heart", "--split", "pseudo", "--output", "runs/heart-round-2"]
    kept = json.loads((folder / "splits.json").read_text())["splits"]["pseudo"]
    assert kept["validation"] == split["validation"] and kept["test"] == split["test"]
    assert sorted(kept["labelled"]) == sorted([*split["labelled"], *split["unlabelled"]])
    again = cli(*outcome.next, *tiny(3))
    assert again.code == 0, again.err


def test_predicted_labels_follow_no_protocol(tmp_path, place):
    """Or a run on them would stand in a table among those that had as many true labels."""
    source = Dataset.open(place / "heart")
    split = source.split(labelled=2).model_copy(update={"protocol": "la/paper", "shortcuts": ("reference-crop",)})
    roles = roles_of(source, split)
    rows = [Row(case, True, 0.9, 5, 0.0) for case in roles.unlabelled]
    _describe(tmp_path, source, roles, rows, split=split, choice=Choice())
    made = json.loads((tmp_path / "splits.json").read_text())["splits"]["pseudo"]
    assert (made["protocol"], made["shortcuts"]) == (None, ["reference-crop"])
    assert json.loads((tmp_path / "dataset.json").read_text())["name"] == f"{source.name} (predicted labels)"


def test_rgb_pictures_and_jpeg_which_nnunet_does_not_read(cli, runs, place):
    assert cli("pseudo-label", "runs/skin", "skin", "out/skin-round").code == 0
    cases = nnunet_rules.check(place / "out/skin-round")
    shutil.copytree(place / "skin", place / "jpegs", ignore=shutil.ignore_patterns(".fewmask"))
    from PIL import Image

    for path in sorted(place.glob("jpegs/images*/*.png")):
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    edit_json(place / "jpegs/dataset.json", file_ending=".jpg")
    assert cli("pseudo-label", "runs/skin", "jpegs", "out/jpegs-round").code == 0
    assert nnunet_rules.check(place / "out/jpegs-round") == cases
    for path in sorted((place / "out/jpegs-round/imagesTr").iterdir()):
        source = next(place.glob(f"jpegs/images*/{path.stem}.jpg"))
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(source)))


@pytest.mark.parametrize("ending", [".tif", ".nrrd", ".mha", ".nii"])
def test_other_volumes_too(cli, runs, place, tmp_path, ending):
    write_dataset(tmp_path / "volumes", cases=1, unlabelled=1, ending=ending)
    assert cli("pseudo-label", "runs/heart", tmp_path / "volumes", tmp_path / "out").code == 0
    assert nnunet_rules.check(tmp_path / "out") == ["case_000", "extra_000"]
    assert cli("check", tmp_path / "out").code == 0


def test_unsure_scans_stay_unlabelled(made, cli, split, place):
    sure = {case: float(row["confidence"] or 0) for case, row in table_of(made[0]).items()}
    limit = (min(sure.values()) + max(sure.values())) / 2
    outcome = cli("pseudo-label", "runs/heart", "heart", "out/sure", "--min-confidence", f"{limit:.6f}", "--json")
    left = sorted(case for case, value in sure.items() if value < limit)
    assert 0 < len(left) < len(sure)
    assert json.loads(outcome.out)["left_out"] == len(left)
    assert sorted(path.name for path in (place / "out/sure/imagesUn").iterdir()) == [f"{c}_0000.nii.gz" for c in left]
    assert not {*left} & {*nnunet_rules.check(place / "out/sure")}
    assert json.loads((place / "out/sure/splits.json").read_text())["splits"]["pseudo"]["unlabelled"] == left
    assert cli("check", "out/sure").code == 0


def test_unsure_voxels_are_ignored_by_nnunet(made, cli, split, place):
    folder, _ = made
    outcome = cli("pseudo-label", "runs/heart", "heart", "out/Dataset007_Ignore", "--ignore-below", "0.7")
    assert outcome.code == 0, outcome.err
    assert outcome.out.rstrip().endswith("next: nnUNetv2_plan_and_preprocess -d 007 --verify_dataset_integrity")
    nnunet_rules.check(place / "out/Dataset007_Ignore")
    assert json.loads((place / "out/Dataset007_Ignore/dataset.json").read_text())["labels"]["ignore"] == 2
    seen = set()
    for case, row in table_of(place / "out/Dataset007_Ignore").items():
        image = [place / "heart/imagesTr", place / "heart/imagesUn"]
        scan = next(path for root in image if (path := root / f"{case}_0000.nii.gz").exists())
        sure = (
            Predictor.from_run(place / "runs/heart", device="cpu").predict(read_image(scan)).probabilities.max(0) >= 0.7
        )
        label = read_label(place / f"out/Dataset007_Ignore/labelsTr/{case}.nii.gz").data
        np.testing.assert_array_equal(label == 2, ~sure)
        np.testing.assert_array_equal(label[sure], read_label(folder / f"labelsTr/{case}.nii.gz").data[sure])
        assert float(row["ignored"]) == pytest.approx((~sure).mean(), abs=1e-6)
        seen |= set(np.unique(sure))
    assert seen == {True, False}  # the limit lies where it tells voxels apart


def test_goes_on_where_it_was_stopped(made, cli, split, place, monkeypatch):
    segment, calls = Predictor.segment, []

    def stopping(self, *words, **more):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return segment(self, *words, **more)

    monkeypatch.setattr(Predictor, "segment", stopping)
    words = ("pseudo-label", "runs/heart", "secret", "out/stopped")
    assert cli(*words).code == 130
    folder = place / "out/stopped"
    assert not (folder / "dataset.json").exists() and not (folder / ".lock").exists()
    (folder / "imagesTr/.partial-killed-case_000_0000.nii.gz").write_text("half")
    with (folder / "pseudo_labels.csv").open("a") as file:
        file.write("extra_000,yes,0.9")  # a torn row
    assert cli(*words).code == 0
    assert len(calls) == 1 + len(split["unlabelled"])  # what was done is not done again
    assert digests(folder) == digests(made[0])
    assert cli(*words).code == 0 and len(calls) == 1 + len(split["unlabelled"])


@pytest.mark.parametrize("link", ["hard", "symbolic"])
def test_images_may_be_links_and_labels_never_are(cli, runs, place, link):
    assert cli("pseudo-label", "runs/heart", "heart", f"out/{link}", "--link", link).code == 0
    nnunet_rules.check(place / f"out/{link}")
    for path in (place / f"out/{link}").glob("images*/*"):
        source = place / "heart" / path.parent.name / path.name
        source = source if source.exists() else place / "heart/imagesUn" / path.name
        assert path.samefile(source) and path.is_symlink() == (link == "symbolic")
    for path in (place / f"out/{link}").glob("labels*/*"):
        assert not path.is_symlink() and path.stat().st_nlink == 1


def test_folders_of_others_and_other_choices_are_refused(made, cli, runs, place, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    write_dataset(tmp_path / "other", cases=2, unlabelled=1, classes=3)
    shutil.copytree(place / "heart", tmp_path / "full", ignore=shutil.ignore_patterns(".fewmask", "imagesUn"))
    for words, code, text in (
        (("heart", tmp_path / "mine"), 1, "is not empty and not begun by fewmask pseudo-label"),
        (("heart", "heart"), 1, "is the data set itself or lies in it"),
        (("heart", "heart/new"), 1, "is the data set itself or lies in it"),
        (("secret", made[0], "--min-confidence", "0.5"), 2, "min_confidence (None then, 0.5 now)"),
        (("secret", made[0], "--flips"), 2, "inference"),
        ((tmp_path / "other", tmp_path / "new"), 1, "has the classes ['background', 'class 1', 'class 2']"),
    ):
        outcome = cli("pseudo-label", "runs/heart", *words)
        assert outcome.code == code and text in outcome.err, outcome.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert not (tmp_path / "new").exists() and not (place / "heart/new").exists()


def test_nothing_to_label(cli, place, train_words):
    write_dataset(place / "known", cases=3)
    assert cli(*(word if word != "2" else "3" for word in train_words("known", "runs/known"))).code == 0
    outcome = cli("pseudo-label", "runs/known", "known", "out/known")
    assert outcome.code == 1 and "has no scan that the run did not see the label of" in outcome.err
    assert not (place / "out/known").exists()
