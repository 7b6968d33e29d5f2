"""A folder that is broken in many ways, folders of 100 000 files, a real process, ``--debug``, and what a stopped prediction leaves."""

import os

import numpy as np
import pytest

from corpus.faults import at, cut, flipped, folder, gone, link_to, nifti, noise, with_voxel, written
from corpus.harness import TRAIN, call, check_one_sentence, findings_of, listing
from fewmask.data.image import read_label
from helpers import write_dataset
from program import run_program

MANY = 100_000
# fmt: off
BROKEN = {
    "imagesTr/case_000_0000.nii.gz": (written(b""), "is empty"),
    "imagesTr/case_001_0000.nii.gz": (cut(2000), "is truncated"),
    "imagesTr/case_002_0000.nii.gz": (with_voxel(np.nan), "NaN or infinite"),
    "imagesTr/case_003_0000.nii.gz": (nifti(noise((20, 18, 14, 5))), "5 channels"),
    "imagesTr/case_004_0000.nii.gz": (nifti(noise((20, 18, 1))), ""),  # a warning: it is a volume of one slice
    "imagesTr/case_005_0000.nii.gz": (nifti(noise(), srow_y=[0, 0, 0, 0], qform_code=0), "mend its header"),
    "imagesTr/case_006_0000.nii.gz": (nifti(noise(), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), "claims"),
    "imagesTr/case_007_0000.nii.gz": (folder, "is a folder"),
    "imagesTr/case_008_0000.nii.gz": (link_to("/nowhere"), "leads nowhere"),
    "imagesTr/case_009_0000.nii.gz": (gone, ""),
    "labelsTr/case_004.nii.gz": (lambda path: None, "another grid"),
    "labelsTr/case_009.nii.gz": (lambda path: None, "scan is missing"),
    "labelsTr/case_010.nii.gz": (flipped(-5), "is truncated"),
    "labelsTr/case_011.nii.gz": (nifti(noise().astype(np.uint8)), "not in dataset.json"),
    "labelsTr/case_012.nii.gz": (nifti(noise((9, 9, 9)).astype(np.uint8) // 99), "another grid"),
    "labelsTr/case_013.nii.gz": (nifti(noise() / 7), "interpolation"),
    "labelsTr/case_014.nii.gz": (nifti(np.full((20, 18, 14), 2**40, np.int64)), "renumber"),
    "imagesUn": (written(b""), "is no folder"),
    "imagesTs/test_000_0000.nii.gz": (lambda path: nifti(noise())(path.with_name("test_000_0003.nii.gz")), "rename them"),
    "imagesTr/caf\udce9_0000.nii.gz": (nifti(noise() + 2), "bytes that are no text"),
}
# fmt: on


def test_the_check_finds_all_faults_of_a_folder_at_once(tmp_path):
    root = write_dataset(tmp_path / "data", cases=16, test=1)
    for name, (fault, _) in BROKEN.items():
        at(name, fault)(root)
    before = listing(tmp_path)
    outcome = call(tmp_path, "check", "data", "--json")
    found = {f["path"]: f["message"] for f in findings_of(outcome) if f["severity"] == "error"}
    assert outcome.code == 1 and outcome.err == "" and listing(tmp_path) == before
    for name, (_, words) in BROKEN.items():
        if words:
            assert words in found.pop(name), name
    assert found == {}  # and nothing else is called broken
    outcome = call(tmp_path, "check", "data", "--thumbnails", "pictures")
    assert outcome.code == 1 and outcome.err == "" and f"{len(BROKEN) - 2} errors" in outcome.out
    assert {path.name for path in (tmp_path / "pictures").iterdir()} >= {"index.png", "case_015.png"}


def test_a_stopped_prediction_leaves_whole_label_maps_and_nothing_else(place):
    """A fault among the voxels shows when the scan's turn comes; what was predicted before it stays."""
    with_voxel(np.nan)(place / "heart/imagesTs/test_001_0000.nii.gz")
    outcome = call(place, "predict", "runs/heart", "heart/imagesTs", "out")
    assert outcome.code == 1
    check_one_sentence(outcome, "heart/imagesTs/test_001_0000.nii.gz", "replace them")
    assert [path.name for path in (place / "out").iterdir()] == ["test_000.nii.gz"]
    assert read_label(place / "out/test_000.nii.gz").data.shape == (20, 18, 14)


def test_100_000_files_are_listed_not_read(sound, tmp_path):
    """Work per file, never per pair of files: seconds, where a quadratic listing takes hours."""
    root = write_dataset(tmp_path / "data", cases=2)
    (root / "imagesUn").mkdir()
    for source in (root / ".one", root / ".other"):  # a file system may allow 65 000 names of one file
        source.touch()
        for number in range(MANY // 2):
            os.link(source, root / f"imagesUn/{source.name[1:]}{number}_0000.nii.gz")
    outcome = call(tmp_path, *["split", "data", "--labelled", "1", "--json"])
    assert outcome.code == 0 and outcome.out.count("_0000") == 0 and outcome.out.count("one") >= MANY // 2
    outcome = call(tmp_path, "predict", sound / "runs/heart", "data/imagesUn", "out")
    assert outcome.code == 1
    check_one_sentence(outcome, "data/imagesUn", "is empty (zero bytes); copy or export it anew")


# fmt: off
REAL = {
    "check absent": (1, "absent"),
    "check heart --json": (1, ""),
    f"{TRAIN}": (1, "case_001_0000.nii.gz"),
    "predict runs/heart heart/imagesTr/case_001_0000.nii.gz out": (1, "case_001_0000.nii.gz"),
    f"{TRAIN} --set train.iteratons=1": (2, "did you mean"),
}
# fmt: on


@pytest.mark.parametrize("command", REAL)
def test_a_real_process_says_the_same(place, command):
    nifti(noise(), pixdim=[1, 1, 0, 1.5, 0, 0, 0, 0], sform_code=0)(place / "heart/imagesTr/case_001_0000.nii.gz")
    code, text = REAL[command]
    outcome = run_program(*command.split(), cwd=place)
    assert outcome.code == code, outcome.err
    if text:
        check_one_sentence(outcome, text, "")
    else:
        assert outcome.err == "" and "case_001" in outcome.out
    assert not (place / "new").exists() and not (place / "out").exists()


@pytest.mark.parametrize("command", ["check absent", f"{TRAIN} --set tran.lr=1", "predict runs/heart absent out"])
def test_debug_shows_the_traceback(place, command):
    outcome = run_program("--debug", *command.split(), cwd=place)
    assert outcome.code == 1 and "Traceback (most recent call last):" in outcome.err
    assert outcome.err.rstrip().splitlines()[-1].startswith("fewmask.errors.")


def test_a_fault_of_the_program_itself_is_a_sentence_too(place, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("fewmask.data.check.check_dataset", fail)
    outcome = call(place, "check", "heart")
    assert (
        outcome.code == 1
        and outcome.err.count("\n") == 1
        and outcome.err.startswith("error: ZeroDivisionError: division by")
    )
    assert "--debug" in outcome.err


def test_a_terminal_that_lacks_letters_ends_nothing(place):
    outcome = run_program("evaluate", "runs/heart/predictions", "heart/labelsTs", cwd=place, PYTHONIOENCODING="ascii")
    assert outcome.code == 0 and "\\xb1" in outcome.out, outcome.err


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_rights(place):
    (place / "heart/imagesTr/case_001_0000.nii.gz").chmod(0)
    outcome = call(place, *TRAIN.split())
    check_one_sentence(outcome, "case_001_0000.nii.gz", "ask for the rights")
