"""No write follows a link that stood in a folder from elsewhere.

A folder of each kind is made as fewmask makes it. Then every folder in it, one after the other, and every file is moved out and a link
left in its place, as a stranger could have prepared it; the verb that writes there runs again; and what lies outside is as it was.
"""

from __future__ import annotations

import os
import shutil
import socket

import pytest

from bench.conftest import RECIPE, SUITE, yaml
from cli.conftest import call_main, tiny
from fewmask.bench.launch import Share, run_job
from fewmask.data.convert import convert
from fewmask.engine.loggers import CsvLogger
from fewmask.errors import WriteError
from fewmask.files import append_text, make_folder, sweep, write_text
from fewmask.locks import is_locked, locked
from fewmask.places import inside, open_own, refuse_links_in
from helpers import edit_json, write_dataset
from layouts import everything, write_la

TRAIN = ["train", "blobs", "--output", "run", "--resume", "auto", "--labelled", "2", "--val", "1", *tiny(2)]
MAPS = ["--probabilities", "--uncertainty"]
VERBS = {  # the words, and the folder that they write into
    "train": ([*TRAIN, "--set", "train.loggers=[tensorboard,mlflow]"], "run"),
    "train into a store": ([*TRAIN, "--store", "store", "--set", "train.seed=1"], "store"),
    "train into the data set's store": ([*TRAIN, "--set", "train.seed=1"], "blobs/.fewmask"),
    "predict": (["predict", "run", "blobs/imagesTs", "run/predictions", *MAPS], "run/predictions"),
    "predict elsewhere": (["predict", "run", "blobs/imagesTs", "out", *MAPS], "out"),
    "evaluate": (["evaluate", "run/predictions", "blobs/labelsTs"], "run/predictions"),
    "rank": (["rank", "run", "blobs"], "run/rank"),
    "report": (["report", "run"], "run"),
    "pseudo-label": (["pseudo-label", "run", "blobs", "pseudo"], "pseudo"),
    "split": (["split", "blobs", "--labelled", "2", "--name", "again"], "blobs"),
    "check": (["check", "blobs", "--thumbnails", "thumbnails"], "thumbnails"),
    "convert": (["convert", "la", "raw", "la"], "la"),
    "export": (["export", "run", "run/model.safetensors"], "run"),
}
WITHOUT_FOLDERS = ("evaluate", "report", "split", "check", "export")  # these write files into the folder itself


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in which every verb has run once."""
    place = tmp_path_factory.mktemp("made")
    write_dataset(place / "blobs", cases=3, unlabelled=1, dims=2, test=1)
    write_la(place / "raw")
    for words, _ in VERBS.values():
        if "train.seed=1" in words:  # its run is made anew by the test
            words = ["other" if word == "run" else word for word in words]  # noqa: PLW2901
        outcome = call_main(*words, cwd=place)
        assert outcome.code in (0, 1), outcome
        assert outcome.code == 0 or words[0] == "check", outcome
    return place


def move_out(path, outside):
    """Put a link in place of what stands there; the thing itself lies outside."""
    outside.mkdir(exist_ok=True)
    moved = outside / f"{len(list(outside.iterdir()))}-{path.name}"
    path.rename(moved)
    path.symlink_to(moved)


def spoilt(target, kind):
    """Functions that move out what lies in a folder: each folder alone, and all files at once."""
    folders = sorted(path for path in target.rglob("*") if path.is_dir() and not path.is_symlink())
    if kind == "files":
        return [[path for path in target.rglob("*") if path.is_file() and not path.is_symlink()]]
    return [[path] for path in folders]


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        (verb, kind)
        for verb in VERBS
        for kind in ("files", "folders", "lock")
        if kind != "folders" or verb not in WITHOUT_FOLDERS
    ],
)
def test_what_lies_outside_stays_as_it_was(made, tmp_path, verb, kind):
    words, where = VERBS[verb]
    shutil.copytree(made, tmp_path / "0", symlinks=True)
    choices = [[]] if kind == "lock" else spoilt(tmp_path / "0" / where, kind)
    for number, chosen in enumerate(choices):
        place, outside = tmp_path / f"place{number}", tmp_path / f"outside{number}"
        shutil.copytree(tmp_path / "0", place, symlinks=True)
        for path in chosen:
            move_out(place / path.relative_to(tmp_path / "0"), outside)
        if kind == "lock":
            outside.mkdir()
            (outside / "secret").write_bytes(b"precious")
            homes = [place / where, *(path for path in (place / where).rglob("*") if path.is_dir())]
            for home in homes:
                (home / ".lock").symlink_to(outside / "secret")
        if "train.seed=1" in words:  # a new run, and other settings of the preparation would be another store
            shutil.rmtree(place / "run")
            for array in (place / where).rglob("image.json"):
                if array.resolve().is_relative_to(place):
                    array.unlink()
        manifest = place / "pseudo/pseudo_labels.json"
        if not manifest.is_symlink():
            edit_json(manifest, source=str((place / "blobs").resolve()))
        before = everything(outside)
        assert before or not chosen
        outcome = call_main(*words, cwd=place)
        assert everything(outside) == before, (verb, chosen)
        assert outcome.code in (0, 1, 2) and "fault of fewmask" not in outcome.err, outcome.err
        if outcome.code and verb != "check":
            assert any(words in outcome.err for words in ("is a link to", "is there already", "was begun")), outcome.err
        shutil.rmtree(place)


@pytest.mark.parametrize(
    "links", [["checkpoints"], ["predictions"], ["tensorboard"], ["wandb"], ["mlflow.db"], [".lock"]]
)
def test_a_run_folder_with_links_is_not_trained_into(made, tmp_path, links):
    """Also where the link leads to nothing yet: it would be made there."""
    for there in (True, False):
        place = tmp_path / str(there)
        shutil.copytree(made, place, symlinks=True)
        for name in links:
            path = place / "run" / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            (tmp_path / "elsewhere").mkdir(exist_ok=True)
            path.symlink_to(tmp_path / "elsewhere" if there else tmp_path / "nowhere")
        outcome = call_main(*TRAIN, cwd=place)
        assert outcome.code == 1 and outcome.err.count("\n") == 1, outcome.err
        assert f"run/{links[0]}: is a link to" in outcome.err and "remove it" in outcome.err
        assert list((tmp_path / "elsewhere").iterdir()) == [] and not (tmp_path / "nowhere").exists()


def test_a_link_of_a_tracker_that_leads_out(tmp_path):
    """W&B has links of its own, which stay inside; in the folder of a single run, which is not written again, they lead to its cache."""
    (tmp_path / "run/wandb/latest").mkdir(parents=True)
    (tmp_path / "run/wandb/debug.log").symlink_to("latest/debug.log")
    (tmp_path / "run/wandb/latest/core.log").symlink_to(tmp_path)
    refuse_links_in(tmp_path / "run", "wandb", "absent")
    (tmp_path / "run/wandb/latest-run").symlink_to(tmp_path)
    with pytest.raises(WriteError, match="latest-run: is a link to"):
        refuse_links_in(tmp_path / "run", "wandb")


@pytest.mark.parametrize("link", ["blobs", "jobs", "jobs/blobs/2", "Dataset999_toys", "jobs/slurm"])
def test_a_bench_folder_with_links_is_not_run_into(made, tmp_path, link):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    data = {**SUITE["data"]["blobs"], "dataset": str(made / "blobs"), "labelled": [2]}
    if link == "Dataset999_toys":
        scans = {"shape": [32, 32], "train": 3, "unlabelled": 1, "test": 1}
        suite = {**SUITE, "data": {"toys": {"phantom": scans, "recipe": "tiny.yaml", "labelled": [2]}}}
    else:
        suite = {**SUITE, "data": {"blobs": data}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({**suite, "seeds": [0]}))
    (tmp_path / "outside").mkdir()
    (tmp_path / "out" / link).parent.mkdir(parents=True)
    (tmp_path / "out" / link).symlink_to(tmp_path / "outside")
    slurm = ["--executor", "slurm", "--slurm", "cluster=local"] if "slurm" in link else []
    outcome = call_main("bench", "run", "small.yaml", "--output", "out", *slurm, cwd=tmp_path)
    assert outcome.code == 1 and f"out/{link}: is a link to" in outcome.err, outcome.err
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("name", [".lock", "log.txt"])
def test_a_job_s_notes_with_links(tmp_path, name):
    (tmp_path / "notes").mkdir()
    (tmp_path / "precious").write_text("as it was")
    (tmp_path / "notes" / name).symlink_to(tmp_path / "precious")
    with pytest.raises(WriteError, match="is a link to"):
        run_job(str(tmp_path / "notes"), 1, Share(), str(tmp_path / "stop"))
    assert (tmp_path / "precious").read_text() == "as it was"


@pytest.mark.parametrize("target", ["precious", "nothing yet", ".lock"])
def test_a_lock_is_no_link(tmp_path, target):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "precious").write_text("as it was")
    (folder / ".lock").symlink_to(folder / ".lock" if target == ".lock" else tmp_path / target)
    for ask in (is_locked, lambda path: locked(path).__enter__()):
        with pytest.raises(WriteError, match=r"\.lock: is a link to .*remove it"):
            ask(folder)
    assert (tmp_path / "precious").read_text() == "as it was" and not (tmp_path / "nothing yet").exists()


@pytest.mark.parametrize("kind", ["a named pipe", "a socket"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind, monkeypatch):
    """Opening a pipe for appending waits until somebody reads it."""
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    if kind == "a socket":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(".lock")
    else:
        os.mkfifo(".lock")
    with pytest.raises(WriteError, match=f"is {kind}"):
        is_locked(tmp_path)
    with pytest.raises(WriteError, match=f"is {kind}"):
        append_text(tmp_path / ".lock", "x")
    if kind == "a socket":
        listener.close()


def test_rows_of_metrics_do_not_follow_a_link(tmp_path):
    (tmp_path / "precious").write_text("iteration\n")
    (tmp_path / "metrics.csv").symlink_to(tmp_path / "precious")
    with pytest.raises(WriteError, match="is a link to"):
        append_text(tmp_path / "metrics.csv", "1\n")
    logger = CsvLogger(tmp_path / "metrics.csv")  # begins with a file of its own
    logger.log(1, {"loss": 1.0})
    assert (tmp_path / "precious").read_text() == "iteration\n"
    assert (tmp_path / "metrics.csv").read_text() == "iteration,loss\n1,1\n"


def test_what_a_killed_command_left_is_not_swept_elsewhere(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / ".partial-x").write_text("somebody else's")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text("")
    (tmp_path / "run/checkpoints").symlink_to(tmp_path / "outside")
    with pytest.raises(WriteError, match="is a link to"):
        sweep(tmp_path / "run/checkpoints")
    assert (tmp_path / "outside" / ".partial-x").exists()


def test_links_on_the_user_s_own_way_are_followed(tmp_path):
    """A disk that is linked into the home, a store on another disk: what the user names is meant."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    write_text(tmp_path / "home/run/config.yaml", "x")
    make_folder(tmp_path / "home/run/checkpoints")
    assert (tmp_path / "disk/run/checkpoints").is_dir()
    assert inside(tmp_path / "home", "run", "new").parent == tmp_path / "home/run"
    with open_own(tmp_path / "home/run/log.txt", "ab") as file:
        file.write(b"line")
    assert (tmp_path / "disk/run/log.txt").read_bytes() == b"line"


def test_a_conversion_does_not_go_on_through_a_link(made, tmp_path):
    shutil.copytree(made / "la", tmp_path / "la")
    move_out(tmp_path / "la/imagesTr", tmp_path / "outside")
    before = everything(tmp_path / "outside")
    with pytest.raises(WriteError, match="imagesTr: is a link to"):
        convert("la", made / "raw", tmp_path / "la")
    assert everything(tmp_path / "outside") == before
