import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from fewmask.data.image import read_image, read_label
from helpers import blobs, write_scan

SKEWED = np.array([[-0.9, 0.1, 0, 12], [0.1, 0.9, 0, -7], [0, 0, 2.5, 3], [0, 0, 0, 1.0]])


def write_nifti(path, shape, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(blobs(shape)[0][0].astype(np.int16), affine)
    image.header.set_slope_inter(0.5, 10)
    image.to_filename(path)
    return path


def test_names_geometry_and_type_are_the_scan_s(cli, runs, place):
    for name, shape in {"a_0000.nii.gz": (9, 31, 5), "b.nii": (20, 18, 14), "notes.txt": None}.items():
        if shape:
            write_nifti(place / "mixed" / name, shape, SKEWED)
        else:
            (place / "mixed" / name).write_text("not an image")
    outcome = cli("predict", "runs/heart", "mixed", "out/mixed", "--probabilities", "--uncertainty")
    assert outcome.code == 0 and "2 label maps in out/mixed" in outcome.out, outcome.err
    assert outcome.next == ["report", "runs/heart"]
    assert sorted(path.name for path in (place / "out/mixed").iterdir() if path.is_file()) == ["a.nii.gz", "b.nii"]
    for scan, labels in (("a_0000.nii.gz", "a.nii.gz"), ("b.nii", "b.nii")):
        before, after = nibabel.load(place / "mixed" / scan), nibabel.load(place / "out/mixed" / labels)
        assert after.shape == before.shape and after.get_data_dtype() == np.uint8
        np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)
        assert set(np.unique(after.get_fdata())) <= {0, 1}


def test_maps_agree_with_the_labels(cli, runs, place):
    write_nifti(place / "maps/a_0000.nii.gz", (17, 20, 9), SKEWED)
    assert cli("predict", "runs/heart", "maps", "out/maps", "--probabilities", "--uncertainty").code == 0
    labels = read_label(place / "out/maps/a.nii.gz").data
    names = ("background", "class 1")
    maps = [read_image(place / f"out/maps/probabilities/a_{name}.nii.gz").data[0] for name in names]
    np.testing.assert_allclose(sum(maps), 1, atol=1e-5)
    np.testing.assert_array_equal(np.argmax(maps, axis=0), labels)
    entropy = -sum(p * np.log(p + 1e-6) for p in maps) / np.log(2)
    np.testing.assert_allclose(read_image(place / "out/maps/uncertainty/a.nii.gz").data[0], entropy, atol=1e-4)


def test_single_file_to_a_named_file_suggests_its_own_evaluation(cli, runs, place):
    outcome = cli("predict", "runs/heart", "heart/imagesTs/test_001_0000.nii.gz", "one.nii.gz", "--json")
    assert json.loads(outcome.out) == ["one.nii.gz"] and (place / "one.nii.gz").is_file()
    outcome = cli("predict", "runs/heart", "heart/imagesTs/test_001_0000.nii.gz", "one.nii.gz")
    assert outcome.next == ["evaluate", "one.nii.gz", "heart/labelsTs/test_001.nii.gz"]
    assert cli(*outcome.next).code == 0


def test_rgb_png(cli, runs, place):
    outcome = cli("predict", "runs/skin", "skin/imagesTs", "out/png", "--probabilities")
    assert outcome.next == ["evaluate", "out/png", "skin/labelsTs"] and cli(*outcome.next).code == 0
    with Image.open(place / "out/png/test_000.png") as labels:
        assert labels.mode == "L" and labels.size == (36, 40) and np.max(labels) <= 2
    assert (place / "out/png/probabilities/test_000_class 2.tif").is_file()


def test_jpeg_becomes_png(cli, runs, place):
    write_scan(place / "photos", "mole", blobs((50, 20), channels=3)[0], ".jpg")
    assert cli("predict", "runs/skin", "photos", "out/photos", "--uncertainty").code == 0
    with Image.open(place / "out/photos/mole.png") as labels:
        assert labels.size == (20, 50)
    assert read_image(place / "out/photos/uncertainty/mole.tif").data.shape == (1, 50, 20)


def test_run_folder_predicts_after_it_was_moved_and_the_data_are_gone(cli, runs, place, tmp_path):
    before = place / "out/before"
    assert cli("predict", "runs/heart", "heart/imagesTs", before).code == 0
    shutil.copytree(runs / "heart", tmp_path / "moved")
    shutil.copytree(place / "heart/imagesTs", tmp_path / "scans")
    config = json.loads((tmp_path / "moved/dataset.json").read_text())
    (tmp_path / "moved/dataset.json").write_text(json.dumps({**config, "root": "/nowhere"}))
    assert cli("predict", "moved", "scans", "labels", cwd=tmp_path).code == 0
    for path in sorted(before.glob("*.nii.gz")):
        np.testing.assert_array_equal(read_label(tmp_path / "labels" / path.name).data, read_label(path).data)


@pytest.mark.parametrize(
    "option", ["--flips", "--gaussian", "--largest-component", "--checkpoint=last", "--device=cpu"]
)
def test_options(cli, runs, option):
    assert (
        cli("predict", "runs/skin", "skin/imagesTs/test_000_0000.png", "out/options", option, "--overwrite").code == 0
    )


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["runs/heart", "nothing", "o"], 1, "nothing: does not exist"),
        (["runs", "heart/imagesTs", "o"], 1, "runs is not a run folder"),
        (
            ["runs/heart", "heart/imagesTs", "heart/dataset.json"],
            1,
            "heart/dataset.json: is a file, but the label maps",
        ),
        (["runs/heart", "runs", "o"], 1, "runs: holds no image, and its subfolders are not searched"),
        (["runs/heart", "heart/dataset.json", "o"], 1, "heart/dataset.json: is not in a supported format"),
        (["runs/heart", "skin/imagesTs", "o"], 1, "skin/imagesTs/test_000_0000.png: is 2D"),
        (["runs/skin", "heart/imagesTs", "o"], 1, "heart/imagesTs/test_000_0000.nii.gz: is 3D"),
        (
            ["runs/heart", "heart/imagesTs", "heart/imagesTs"],
            1,
            "holds the scans; write the label maps to another folder",
        ),
        (["runs/heart", "heart/imagesTs", "o", "--device", "quantum"], 2, "there is no device 'quantum'"),
        (["runs/heart", "heart/imagesTs/test_000_0000.nii.gz", "o.png"], 1, "o.png"),
        (["runs/heart", "heart/imagesTs", "o", "--spread"], 2, "does not predict from noise: use --uncertainty"),
        (["runs/heart", "heart/imagesTs", "o", "--draws", "4"], 2, "does not predict from noise: leave --draws out"),
    ],
)
def test_wrong_words_are_one_line_that_names_the_file(cli, runs, words, code, text):
    outcome = cli("predict", *words)
    assert outcome.code == code and outcome.out == ""
    assert outcome.err.startswith("error: ") and text in outcome.err and len(outcome.err.splitlines()) == 1


def test_scan_is_never_overwritten(cli, runs, place):
    path = write_nifti(place / "alone/scan.nii.gz", (20, 18, 14), np.eye(4))
    before = path.read_bytes()
    outcome = cli("predict", "runs/heart", "alone/scan.nii.gz", "alone")
    assert outcome.code == 1 and "is the scan itself" in outcome.err and path.read_bytes() == before


def test_damaged_scan_and_damaged_run_are_named(cli, runs, place):
    Path(place / "bad").mkdir()
    (place / "bad/x_0000.nii.gz").write_bytes(b"nonsense")
    assert "bad/x_0000.nii.gz" in cli("predict", "runs/heart", "bad", "o").err
    shutil.copytree(runs / "heart", place / "runs/torn")
    (place / "runs/torn/checkpoints/best.safetensors").write_bytes(b"nonsense")
    outcome = cli("predict", "runs/torn", "heart/imagesTs", "o")
    assert outcome.code == 1 and "runs/torn/checkpoints/best.safetensors" in outcome.err
    assert cli("predict", "runs/torn", "heart/imagesTs", "o", "--checkpoint", "last").code == 0


def test_engine(cli, runs, place):
    write_nifti(place / "engines" / "a_0000.nii.gz", (20, 18, 14), np.eye(4))
    for engine in ("eager", "bf16"):
        assert cli("predict", "runs/heart", "engines", f"out/{engine}", "--engine", engine, "--probabilities").code == 0
    (class_map,) = {path.name for path in (place / "out/eager/probabilities").iterdir() if "background" in path.name}
    slow, fast = (read_image(place / "out" / name / "probabilities" / class_map).data for name in ("eager", "bf16"))
    assert 0 < np.abs(slow - fast).max() < 0.1
    outcome = cli("predict", "runs/heart", "engines", "out/none", "--engine", "bf61")
    assert outcome.code == 2 and "did you mean 'bf16'?" in outcome.err
