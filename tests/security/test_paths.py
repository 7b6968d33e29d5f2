"""What a data set or a run folder says cannot make fewmask read or write elsewhere."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from cli.conftest import call_main, tiny
from fewmask.data.check.thumbnails import write_thumbnails
from fewmask.data.dataset import Dataset
from fewmask.data.image import Geometry, read_geometry, read_image, write_image
from fewmask.errors import DataError
from fewmask.names import file_parts
from fewmask.report.html import write_report
from fewmask.whole import digest_of
from helpers import edit_json, write_dataset
from report.fake_runs import write_run

ELSEWHERE = [
    "../../etc/passwd",
    "/etc/passwd",
    "case_000\0",
    "C:\\secret",
    "..\\case_000",
    "~/case_000",
    "imagesTr/case_000",
    "",
]


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "blobs", cases=4, dims=2, test=2)


def everything(folder):
    """Every path below a folder, with the contents of the files."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("case", ELSEWHERE)
@pytest.mark.parametrize("part", ["labelled", "unlabelled", "test"])
def test_a_split_names_cases_and_no_paths(root, case, part):
    split = {"labelled": ["case_001"], part: [case]}
    (root / "splits.json").write_text(json.dumps({"splits": {"odd": split}}))
    with pytest.raises(DataError, match=r"splits\.json: split 'odd' does not fit the folder"):
        Dataset.open(root).load_split("odd")


def test_the_program_names_the_file_of_the_split(root):
    (root / "splits.json").write_text(json.dumps({"splits": {"odd": {"labelled": ["../../etc/passwd"]}}}))
    before = everything(root)
    outcome = call_main("train", "blobs", "--split", "odd", "--output", "run", *tiny(2), cwd=root.parent)
    assert outcome.code == 1
    assert "splits.json" in outcome.err and outcome.err.count("\n") == 1
    assert everything(root) == before and not (root.parent / "run").exists()


@pytest.mark.parametrize("ending", ["/../../x.png", "../x.nii.gz", "C:.png", ".png\0", "", "/", ".npy", ".pkl"])
@pytest.mark.parametrize("key", ["file_ending", "label_ending"])
def test_an_ending_is_one_of_the_formats(root, key, ending):
    edit_json(root / "dataset.json", **{key: ending})
    with pytest.raises(DataError, match=rf'dataset\.json: "{key}" is'):
        Dataset.open(root)


@pytest.mark.parametrize("case", ELSEWHERE)
def test_patients_and_order_are_names_only(root, case):
    """They are compared with the ids of the files, and never made into a path."""
    edit_json(root / "dataset.json", patients={case: "anna", "case_000": case})
    assert Dataset.open(root).split(labelled=2).labelled
    edit_json(root / "dataset.json", training_order=[case, *Dataset.open(root).ids("train")])
    with pytest.raises(DataError, match=r'dataset\.json: "training_order" names, but imagesTr lacks, 1 cases'):
        Dataset.open(root).split(labelled=2, ordered=True)


def test_scans_may_be_links_and_are_left_alone(root, tmp_path):
    """People link scans into data sets instead of copying them: reading follows a link, writing goes beside or instead of it."""
    original = tmp_path / "archive" / "scan.png"
    original.parent.mkdir()
    shutil.move(root / "imagesTr" / "case_000_0000.png", original)
    (root / "imagesTr" / "case_000_0000.png").symlink_to(original)
    before = original.read_bytes()
    data = Dataset.open(root)
    assert data.read("case_000").data.shape == (1, 40, 36)
    write_image(root / "imagesTr" / "case_000_0000.png", data.read_label("case_000").data, Geometry.plain((40, 36)))
    assert original.read_bytes() == before


def volume(path):
    write_image(path, np.full((3, 4, 5), 7, np.uint8), Geometry((3, 4, 5), np.eye(4)))


MHA = "ObjectType = Image\nNDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\n"
NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 3 4 5\nencoding: raw\n"
VOXELS = {
    "parent.mhd": MHA + "ElementDataFile = ../secret.raw\n",
    "absolute.mha": MHA + "ElementDataFile = {secret}\n",
    "colon.mhd": MHA + "ElementDataFile : ../secret.raw\n",
    "indented.mhd": MHA + "  ElementDataFile = ../secret.raw\n",
    "list.mhd": MHA + "ElementDataFile = LIST\n../secret.raw\n",
    "pattern.mhd": MHA + "ElementDataFile = x%02d.raw 1 5 1\n",
    "detached.nrrd": NRRD + "data file: ../secret.raw\n",
    "absolute.nrrd": NRRD + "datafile: {secret}\n",
    "endless.mha": MHA + "Comment = " + "x" * 2**20 + "\nElementDataFile = ../secret.raw\n",
    "endless.nrrd": NRRD + "# " + "x" * 2**20 + "\ndata file: ../secret.raw\n",
}


@pytest.mark.parametrize("name", VOXELS)
def test_a_header_cannot_point_to_voxels_elsewhere(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(60))
    path = tmp_path / "in" / name
    path.write_text(VOXELS[name].replace("{secret}", str(tmp_path / "secret.raw")))
    for read in (read_image, read_geometry):
        with pytest.raises(DataError, match=r"outside its folder|header without end"):
            read(path)


@pytest.mark.parametrize("ending", [".mhd", ".mha", ".nrrd"])
def test_headers_as_they_should_be_pass(tmp_path, ending):
    volume(tmp_path / f"scan{ending}")
    assert (read_image(tmp_path / f"scan{ending}").data == 7).all()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b", "a\\b", "C:x", "nul\0", "\x1b[31mred", "x" * 300, "..", "ein Gefäß"]
)
def test_class_names_in_file_names(name):
    (part,) = file_parts([name])
    assert len(part) <= 80 and not set(part) & set('/\\:\0\x1b*?"<>|')
    assert file_parts(["ein Gefäß"]) == ["ein Gefäß"]
    assert len(set(file_parts(["a/b", "a-b", "a\\b"]))) == 3


def test_probabilities_of_hostile_classes_stay_in_their_folder(root, tmp_path):
    outcome = call_main("train", "blobs", "--output", "run", *tiny(2), cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    edit_json(tmp_path / "run" / "task.json", class_names=["../../up", "/etc/x\0"])
    before = set(tmp_path.rglob("*"))
    outcome = call_main("predict", "run", "blobs/imagesTs", "out", "--probabilities", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    written = set(tmp_path.rglob("*")) - before
    assert len([path for path in written if path.suffix == ".tif"]) == 4
    assert all(path.is_relative_to(tmp_path / "out") for path in written)


@pytest.mark.parametrize("case", ["../../secret", "/tmp/secret", "..\\secret", "<script>"])
def test_scores_of_cases_elsewhere_read_and_write_nothing(root, tmp_path, case):
    run = write_run(tmp_path / "run", root)
    shutil.copy(run / "predictions" / "test_000.png", tmp_path / "secret.png")
    table = run / "predictions" / "scores.csv"
    with table.open(newline="") as file:
        rows = [{**row, "case": case if row["case"] == "test_000" else row["case"]} for row in csv.DictReader(file)]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    edit_json(run / "predictions" / "summary.json", scores=digest_of(table.read_bytes().decode()))
    edit_json(run / "split.json", labelled=[case], test=[])
    before = set(tmp_path.rglob("*"))
    write_report([run], run / "report.html")
    assert set(tmp_path.rglob("*")) - before == {run / "report.html"}
    assert "has no case" in (run / "report.html").read_text(encoding="utf-8")


def test_thumbnails_of_odd_names_stay_in_their_folder(root, tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        for path in (root / folder).glob("case_000*"):
            path.rename(path.with_name(path.name.replace("case_000", "..\\..\\up")))
    before = set(tmp_path.rglob("*"))
    write_thumbnails(root, tmp_path / "thumbnails")
    assert all(path.is_relative_to(tmp_path / "thumbnails") for path in set(tmp_path.rglob("*")) - before)
