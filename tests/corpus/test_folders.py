"""Folders that are not what they should be: in the way, empty, looped, without rights, or of 100 000 files."""

import numpy as np

from corpus.faults import at, both, entries, folder, gone, link_to, nifti, noise, nothing, picture, written
from corpus.harness import TRAIN, Case, each

SCAN = "heart/imagesTr/case_001_0000.nii.gz"
PREDICT = "predict runs/heart heart/imagesTs out"
EVALUATE = "evaluate runs/heart/predictions heart/labelsTs"
TAKEN, ELSEWHERE = "check the path, space and rights", "choose another place"


def copy(source, target):
    return lambda place: (place / target).write_bytes((place / source).read_bytes())


def moved(source, target):
    return lambda place: (place / source).rename(place / target)


# fmt: off
DATASETS = [
    Case("nothing there", nothing, "check absent", "absent", "give the path of a dataset folder"),
    Case("a file", nothing, "check heart/dataset.json", "dataset.json", "give the path of a dataset folder"),
    Case("an empty folder", at("new", folder), "check new", "new/dataset.json", "write one such as"),
    Case("no imagesTr", both(*(at(f"heart/images{k}", gone) for k in ("Tr", "Un", "Ts"))), "check heart", "heart", "name the files so"),
    Case("a dataset linked to itself", at("loop", link_to("loop")), "check loop", "loop", "give the path of a dataset folder"),
    Case("a case id twice", copy(SCAN, "heart/imagesUn/case_001_0000.nii.gz"), TRAIN, "imagesUn/case_001_0000.nii.gz", "rename one of them"),
    Case("a folder in place of a scan", at(SCAN, folder), TRAIN, SCAN, "put an image file in its place"),
    Case("a link to nowhere in place of a scan", at(SCAN, link_to("/nowhere/a.nii.gz")), TRAIN, SCAN, "check the path"),
    Case("a link to itself in place of a scan", at(SCAN, link_to("case_001_0000.nii.gz")), TRAIN, SCAN, "check the path"),
    Case("a folder in place of a label", at("heart/labelsTr/case_001.nii.gz", folder), TRAIN, "labelsTr/case_001.nii.gz", "put an image file"),
    Case("channels 0 and 2", moved(SCAN, SCAN.replace("_0000", "_0002")), TRAIN, "case_001_0002.nii.gz", "asks for _0000"),
    Case("more channels than the data set names", copy(SCAN, SCAN.replace("_0000", "_0001")), TRAIN, "case_001", "rename them"),
    Case("fewer channels than the data set names", at("heart/dataset.json", entries(channel_names={"0": "a", "1": "b"})), TRAIN, "case_00",
        "add the missing files"),
    Case("the first scan is a slice", at("heart/imagesTr/case_000_0000.nii.gz", nifti(noise((20, 18, 1)))), TRAIN, "case_000_0000.nii.gz",
        "resample it to that grid"),
]
OUTPUTS = [
    Case("a run in the way", nothing, "train heart --output runs/heart", "runs/heart", "--resume auto"),
    Case("a file in the way of a run", nothing, "train heart --output heart/dataset.json", "heart/dataset.json", "choose a folder"),
    Case("a folder of other files in the way of a run", nothing, "train heart --output skin", "skin", "choose another --output"),
    Case("a run below a file", nothing, "train heart --output heart/dataset.json/run", "dataset.json", ELSEWHERE),
    Case("a store that is a file", nothing, f"{TRAIN} --store heart/dataset.json", "heart/dataset.json", ELSEWHERE),
    Case("predictions into a file", nothing, "predict runs/heart heart/imagesTs heart/dataset.json", "dataset.json", "name one"),
    Case("predictions onto the scans", nothing, "predict runs/heart heart/imagesTs heart/imagesTs", "heart/imagesTs", "another folder"),
    Case("a prediction in an unknown format", nothing, "predict runs/heart heart/imagesTs/test_000_0000.nii.gz out.jpg", "out.jpg", "write .png"),
    Case("scores into a file", nothing, f"{EVALUATE} --output heart/dataset.json", "dataset.json", ELSEWHERE),
    Case("an export onto a folder", at("m.safetensors", folder), "export runs/heart m.safetensors", "m.safetensors", TAKEN),
    Case("thumbnails into a file", nothing, "check heart --thumbnails heart/dataset.json", "dataset.json", ELSEWHERE),
    Case("a name that no file system takes", nothing, f"train heart --output {'x' * 300}", "xxx", TAKEN),
]
SCANS = [
    Case("no scans", nothing, "predict runs/heart absent out", "absent", "give an image file or a folder"),
    Case("a folder without scans", at("new", folder), "predict runs/heart new out", "new", "supported endings"),
    Case("a file that is no scan", nothing, "predict runs/heart heart/dataset.json out", "heart/dataset.json", "convert it to one of"),
    Case("a PNG among volumes", copy("skin/imagesTs/test_000_0000.png", "heart/imagesTs/z_0000.png"), PREDICT, "z_0000.png", "is 2D"),
    Case("a folder among scans", at("heart/imagesTs/z_0000.nii.gz", folder), PREDICT, "z_0000.nii.gz", "put an image file"),
    Case("a broken link among scans", at("heart/imagesTs/z_0000.nii.gz", link_to("z_0000.nii.gz")), PREDICT, "z_0000.nii.gz", "check the path"),
    Case("fewer channels than trained", copy("heart/imagesTs/test_000_0000.nii.gz", "z.nii.gz"), "predict runs/skin z.nii.gz out", "z.nii.gz",
        "is 3D"),
    Case("grey where colour was trained", copy("skin/labelsTs/test_000.png", "z.png"), "predict runs/skin z.png out", "z.png", "give it those"),
    Case("channels with a gap", copy("heart/imagesTs/test_000_0000.nii.gz", "heart/imagesTs/test_000_0002.nii.gz"), PREDICT, "test_000_0002.nii.gz",
        "rename them"),
    Case("two scans of one output name",
        lambda place: [(place / "new").mkdir(), *((place / "new" / n).write_bytes(b"") for n in ("a.jpg", "a.png"))], "predict runs/skin new out",
        "a.png", "rename one of them"),
]
SCORES = [
    Case("no common names", nothing, "evaluate runs/heart/predictions heart/labelsTr", "runs/heart/predictions", "--allow-missing"),
    Case("one prediction too few", at("runs/heart/predictions/test_001.nii.gz", gone), EVALUATE, "test_001", "--allow-missing"),
    Case("no predictions", at("new", folder), "evaluate new heart/labelsTs", "new", "supported endings"),
    Case("a folder and a file", nothing, "evaluate runs/heart/predictions heart/labelsTs/test_000.nii.gz", "test_000.nii.gz",
        "two folders or two files"),
    Case("nothing there to score", nothing, "evaluate absent heart/labelsTs", "absent", "check the path"),
    Case("a prediction in two formats", copy("runs/heart/predictions/test_000.nii.gz", "runs/heart/predictions/test_000.nii"), EVALUATE,
        "test_000.nii", "remove one of them"),
    Case("half a config above the predictions", at("runs/heart/config.yaml", written("train: [")), EVALUATE, "config.yaml",
        "copy the run folder anew"),
    Case("half a dataset.json above the references", at("heart/dataset.json", written("{")), EVALUATE, "heart/dataset.json",
        "write something such as"),
]
# fmt: on


# fmt: off
FOUND = [
    Case("a file called labelsTr", at("heart/labelsTr", gone, written("")), "check heart", "labelsTr", "is no folder"),
    Case("a folder linked to itself", at("heart/imagesUn", link_to("imagesUn")), "check heart", "imagesUn", "is no folder"),
    Case("channels 0 and 2, found", moved(SCAN, SCAN.replace("_0000", "_0002")), "check heart", "case_001_0002", "rename them"),
    Case("a label without its scan", at(SCAN, gone), "check heart", "labelsTr/case_001.nii.gz", "scan is missing"),
    Case("a scan that is a test scan too", copy(SCAN, "heart/imagesTs/z_0000.nii.gz"), "check heart", "z_0000.nii.gz", "leakage"),
    Case("two ids that differ in case only", copy(SCAN, "heart/imagesUn/CASE_001_0000.nii.gz"), "check heart", "case_001", "rename one", 0),
    Case("an object as class 0", at("heart/dataset.json", entries(labels={"atrium": 0, "wall": 1})), "check heart", "dataset.json", "neither learnt", 0),
    Case("a JPEG called PNG for a label", lambda p: picture(np.zeros((40, 36), np.uint8), format="JPEG")(p / "skin/labelsTr/case_001.png"),
        "check skin", "labelsTr/case_001.png", "save it as PNG"),
    Case("a file of another kind", at("heart/imagesTr/notes.txt", written("")), "check heart", "notes.txt", "is left out", 0),
]
# fmt: on


@each(DATASETS + OUTPUTS + SCANS + SCORES)
def test_refused(case, refused):
    refused(case)


@each(FOUND)
def test_found(case, found):
    found(case)
