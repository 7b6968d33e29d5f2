"""Broken ``dataset.json`` and ``splits.json``."""

import json

from corpus.faults import at, entries, folder, gone, link_to, written
from corpus.harness import TRAIN, Case, each

SPLIT = {"labelled": ["case_000"], "unlabelled": ["case_001"], "test": ["test_000"]}
WRITE = "write something such as"


def description(name, remedy, fault=None, command="check heart", **changes):
    """A ``dataset.json`` with other entries, or a whole other file."""
    return Case(name, at("heart/dataset.json", fault or entries(**changes)), command, "heart/dataset.json", remedy)


def labels(name, remedy, values):
    return description(name, remedy, labels=values)


# fmt: off
DESCRIPTIONS = [
    description("no dataset.json", "write one such as", gone),
    description("no dataset.json, to train", "write one such as", gone, TRAIN),
    description("an empty dataset.json", WRITE, written("")),
    description("a folder called dataset.json", WRITE, folder),
    description("a link to itself", WRITE, link_to("dataset.json")),
    description("half a dataset.json", WRITE, written('{"labels": {"background": 0,')),
    description("YAML in dataset.json", WRITE, written("labels:\n  background: 0\n")),
    description("UTF-16, as PowerShell writes", WRITE, written('{"labels": {}}'.encode("utf-16"))),
    description("binary noise", WRITE, written(bytes(range(256)))),
    description("100 000 open brackets", WRITE, written("[" * 100_000)),
    description("a list", WRITE, written("[1, 2]")),
    description("one key twice", "twice", written('{"labels": {"background": 0, "a": 1}, "labels": {"background": 0}}')),
    description("one class twice", "twice", written('{"labels": {"background": 0, "a": 1, "a": 2}}')),
    labels("no labels", "give each class its value", None),
    labels("labels that are a list", "give each class its value", ["background", "atrium"]),
    labels("labels that are a word", "give each class its value", "atrium"),
    labels("ids with gaps", "without gaps", {"background": 0, "atrium": 2}),
    labels("ids from 1", "without gaps", {"atrium": 1, "wall": 2}),
    labels("an id twice", "without gaps", {"background": 0, "atrium": 1, "wall": 1}),
    labels("a negative id", "without gaps", {"background": 0, "atrium": -1}),
    labels("one class", "two or more classes", {"background": 0}),
    labels("300 classes", "two or more classes", {str(n) + "a": n for n in range(300)}),
    labels("an id that is a fraction", "give whole numbers", {"background": 0, "atrium": 0.5}),
    labels("an id that is NaN", "give whole numbers", {"background": 0, "atrium": float("nan")}),
    labels("an id that is true", "give whole numbers", {"background": 0, "atrium": True}),
    labels("an id that is null", "give whole numbers", {"background": 0, "atrium": None}),
    labels("regions, as nnU-Net knows them", "give each class one value", {"background": 0, "whole": [1, 2], "core": 2}),
    labels("an ignore label", "remove it", {"background": 0, "atrium": 1, "ignore": 2}),
    description("no channels", "must number the channels from 0", channel_names={}),
    description("channels from 1", "must number the channels from 0", channel_names={"1": "MRI"}),
    description("channels that are a word", "must number the channels from 0", channel_names="MRI"),
    description("no file ending", "file_ending", file_ending=None),
    description("an ending without its dot", "did you mean '.nii.gz'", file_ending="nii.gz"),
    description("an ending that is a number", "must be the images' ending", file_ending=3),
    description("labels that end in JPEG", "save labels as", label_ending=".jpg"),
    description("patients that are a list", "must map case ids to patients", patients=["anna"]),
    description("an order that is a word", "training_order", training_order="case_000"),
    description("an order that names a case twice", "training_order", training_order=["case_000", "case_000"]),
    description("an order without a case", "mend the list", None, "split heart --ordered --labelled 1", training_order=["case_000"]),
]
# fmt: on


def splits(name, remedy, content):
    fault = written(content if isinstance(content, str) else json.dumps({"splits": {"a": content}}))
    return Case(name, at("heart/splits.json", fault), f"{TRAIN} --split a", "heart/splits.json", remedy)


# fmt: off
SPLITS = [
    splits("splits.json cut short", "mend or delete it", '{"splits": {"a"'),
    splits("splits.json with a list", "mend or delete it", "[]"),
    splits("splits.json with 100 000 open brackets", "mend or delete it", "[" * 100_000),
    splits("a split that is null", "make it anew", None),
    splits("a split that is a list, as nnU-Net's", "make it anew", [{"train": ["case_000"], "val": ["case_001"]}]),
    splits("another split", "did you mean 'ab'", '{"splits": {"ab": {}}}'),
    splits("a labelled case that is a test case too", "keep it in one", SPLIT | {"labelled": ["case_000", "test_000"]}),
    splits("a case twice", "keep it in one", SPLIT | {"labelled": ["case_000", "case_000"]}),
    splits("no labelled case", "name at least one", SPLIT | {"labelled": []}),
    splits("a word in place of a list", "make it anew", SPLIT | {"labelled": "case_000"}),
    splits("numbers in place of names", "make it anew", SPLIT | {"labelled": [0, 1]}),
    splits("an unknown part", "make it anew", SPLIT | {"train": ["case_002"]}),
    splits("an unknown case", "its cases are named like 'case_002'", SPLIT | {"labelled": ["case_02"]}),
    splits("a labelled case without a label", "no label", SPLIT | {"labelled": ["extra_000"]}),
    Case("a broken splits.json that split would have to extend", at("heart/splits.json", written("{")), "split heart --labelled 1",
        "heart/splits.json", "mend or delete it"),
    Case("an ending of another format", at("heart/dataset.json", entries(file_ending=".nrrd")), "check heart",
        "heart: holds no scan named like imagesTr/ID_0000.nrrd", 'mend "file_ending"'),
    Case("more labels than there are", lambda place: None, f"{TRAIN} --labelled 4", "heart", "ask for fewer"),
    Case("all labels for validation", lambda place: None, "split heart --labelled 2 --val 2", "heart", "raise labelled or lower validation"),
    Case("no label to learn from", at("heart/labelsTr", gone), TRAIN, "heart", "add at least one"),
]
# fmt: on


@each(DESCRIPTIONS + SPLITS)
def test_refused(case, refused):
    refused(case)


def test_all_wrong_entries_are_told_at_once(refused):
    wrong = entries(labels=["atrium"], channel_names="MRI", file_ending="nii")
    for remedy in ("give each class its value", "must number the channels", "did you mean '.nii'"):
        refused(Case("", at("heart/dataset.json", wrong), "check heart", "heart/dataset.json", remedy))
