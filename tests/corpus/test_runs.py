"""Broken run folders: for prediction, export, resumption and report."""

import struct

import torch
from safetensors.torch import load_file, save_file

from corpus.faults import at, cut, entries, folder, gone, nothing, written
from corpus.harness import Case, each
from program import tiny

PREDICT = "predict runs/heart heart/imagesTs out"
RESUME = " ".join(
    ["train heart --output runs/heart --labelled 2 --val 1 --resume auto", *(f"'{word}'" for word in tiny(3))]
)
REPORT = "report runs/heart --output page.html"
WEIGHTS, STATE = "runs/heart/checkpoints/best.safetensors", "runs/heart/checkpoints/last.pt"


def run(name, file, fault, remedy="", command=PREDICT):
    """A file of the run, broken."""
    return Case(name, at(f"runs/heart/{file}", fault), command, file.split("/")[-1], remedy)


def weights(name, change, remedy=""):
    """Tensors of the weights, changed."""

    def fault(place):
        tensors = load_file(place / WEIGHTS)
        save_file(change(tensors) or tensors, place / WEIGHTS)

    return Case(name, fault, PREDICT, "best.safetensors", remedy)


def state(name, change, remedy=""):
    """The file that resumes a run, changed."""

    def fault(place):
        values = torch.load(place / STATE, weights_only=True)
        torch.save(change(values) or values, place / STATE)

    return Case(name, fault, RESUME, "last.pt", remedy)


class Code:
    """What unpickling would run."""

    def __reduce__(self):
        return (print, ("this must never be printed",))


def first(tensors):
    return next(iter(tensors))


def last(tensors):
    return [name for name, values in tensors.items() if values.is_floating_point()][-1]


# fmt: off
PREDICTION = [
    Case("no run", nothing, "predict heart heart/imagesTs out", "heart", "give the --output folder of a fewmask train"),
    Case("a file as a run", nothing, "predict heart/dataset.json heart/imagesTs out", "dataset.json", "give the --output"),
    run("no weights", "checkpoints", gone, "first checkpoint"),
    run("no best weights though asked for", "checkpoints/best.safetensors", gone, "see checkpoints/", f"{PREDICT} --checkpoint best"),
    run("a folder for weights", "checkpoints/best.safetensors", folder),
    run("empty weights", "checkpoints/best.safetensors", written(""), "copy the run folder anew"),
    run("weights cut short", "checkpoints/best.safetensors", cut(-100), "copy the run folder anew"),
    run("weights cut in the header", "checkpoints/best.safetensors", cut(50), "copy the run folder anew"),
    run("a header of 2^60 bytes", "checkpoints/best.safetensors", written(struct.pack("<Q", 2**60) + b"{}"), "copy the run folder anew"),
    run("a pickle as weights", "checkpoints/best.safetensors", lambda path: torch.save({"a": Code()}, path), "copy the run folder anew"),
    weights("one tensor less", lambda t: t.pop(first(t)) and t, "does not fit the run's config"),
    weights("one tensor more", lambda t: t | {"more": torch.zeros(1)}, "does not fit the run's config"),
    weights("a tensor of another shape", lambda t: t | {first(t): torch.zeros(3, 3)}, "does not fit the run's config"),
    weights("weights that are NaN", lambda t: t | {last(t): t[last(t)] * float("nan")}, "finite"),
    weights("weights that are whole numbers", lambda t: {k: v.to(torch.int8) for k, v in t.items()}, "does not fit the run's config"),
    Case("weights of another network", lambda place: (place / WEIGHTS).write_bytes((place / WEIGHTS.replace("heart", "skin")).read_bytes()), PREDICT,
        "best.safetensors", "does not fit the run's config"),
    run("no task", "task.json", gone, "not complete"),
    run("a task that is a list", "task.json", written("[]"), "copy the run folder anew"),
    run("a task without patch", "task.json", entries(patch_size=None), "copy the run folder anew"),
    run("a task of four dimensions", "task.json", entries(spatial_dims=4), "copy the run folder anew"),
    run("a task of words", "task.json", entries(in_channels="one"), "copy the run folder anew"),
    run("a patch of words", "task.json", entries(patch_size=["a", "b", "c"]), "copy the run folder anew"),
    run("no description", "dataset.json", gone, "not complete"),
    run("a description without channels", "dataset.json", entries(channel_names=None), "copy the run folder anew"),
    run("a description that is null", "dataset.json", written("null"), "copy the run folder anew"),
    run("half a config", "config.yaml", written("train: {lr: 0.1"), "copy the run folder anew"),
    run("an empty config", "config.yaml", written(""), "copy the run folder anew"),
    run("a config of another version", "config.yaml", written("training: {lr: 1}\n"), "unknown key"),
    run("a config that builds objects", "config.yaml", written("train: !!python/object/apply:os.abort []\n"), "not valid YAML"),
    run("a method that is not here", "config.yaml", written("method: {name: secret}\n"), "install the version of the training"),
    run("NUL bytes for a config", "config.yaml", written(bytes(100)), "not valid YAML"),
]
RESUMPTION = [
    run("an empty checkpoint", "checkpoints/last.pt", written(""), "train again", RESUME),
    run("a checkpoint cut short", "checkpoints/last.pt", cut(-2000), "train again", RESUME),
    run("noise as a checkpoint", "checkpoints/last.pt", written(bytes(range(256)) * 9), "train again", RESUME),
    run("a checkpoint with code", "checkpoints/last.pt", lambda path: torch.save({"state": Code()}, path), "train again", RESUME),
    run("a list of tensors as a checkpoint", "checkpoints/last.pt", lambda path: torch.save([torch.zeros(2)], path), "", RESUME),
    state("a checkpoint without optimisers", lambda v: v.pop("optimisers") and v, "is not a checkpoint of fewmask"),
    state("a checkpoint of another method", lambda v: v | {"method": {"teacher": torch.zeros(2)}}, "does not fit"),
    state("an optimiser of another kind", lambda v: v | {"optimisers": {}}, "train anew"),
    state("a state of words", lambda v: v | {"state": {"phase": "one"}}, "is not a checkpoint of fewmask"),
    state("a state of a later version", lambda v: v | {"state": v["state"] | {"more": 1}}, "does not fit"),
    run("a split that is a list", "split.json", written("[]"), "", RESUME),
    run("no split", "split.json", gone, "not complete", RESUME),
    run("noise in metrics.csv", "metrics.csv", written(bytes(range(128, 256))), "", RESUME),
    Case("other settings", nothing, f"{RESUME} --set train.lr=0.5", "runs/heart", "choose another --output", code=2),
]
# fmt: on
SCORES = "predictions/scores.csv"
# fmt: off
REPORTS = [
    Case("no run to report", nothing, "report heart", "heart", "give the --output folder"),
    Case("one run twice", nothing, "report runs/heart runs/heart", "heart", "give every run once"),
    Case("a folder for the page", nothing, "report runs/heart --output heart", "heart", "give a file for the report"),
    Case("a page below a file", nothing, "report runs/heart --output heart/dataset.json/page.html", "dataset.json", "choose another place"),
    run("an empty scores.csv", SCORES, written(""), "evaluate", REPORT),
    run("scores.csv without a row", SCORES, written("case,class,status,dice\n"), "evaluate", REPORT),
    run("scores.csv without a column", SCORES, written("case,class\na,b\n"), "evaluate", REPORT),
    run("words in scores.csv", SCORES, written("case,class,status,dice\na,b,found,high\n"), "evaluate", REPORT),
    run("noise in scores.csv", SCORES, written(bytes(range(256))), "evaluate", REPORT),
    run("scores.csv without summary.json", "predictions/summary.json", gone, "evaluate", REPORT),
    run("half a summary.json", "predictions/summary.json", cut(60), "evaluate", REPORT),
    run("a summary.json that is a list", "predictions/summary.json", written("[]"), "evaluate", REPORT),
    run("noise in metrics.csv, to report", "metrics.csv", written(bytes(range(128, 256))), "restore it", REPORT),
    run("words in metrics.csv", "metrics.csv", written("iteration,loss\n1,low\n"), "restore it", REPORT),
    run("no environment", "environment.json", gone, "restore it", REPORT),
    run("an environment that is a list", "environment.json", written("[]"), "restore it", REPORT),
]
# fmt: on


@each(PREDICTION + RESUMPTION + REPORTS)
def test_refused(case, refused):
    refused(case)
