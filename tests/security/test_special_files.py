"""Pipes, sockets, devices and folders without rights are refused by name or passed over; none is read without end."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import stat
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from cli.conftest import call_main, tiny
from dicom import write_series
from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.errors import DataError
from helpers import write_dataset
from layouts import write_la

PATIENCE = 20  # seconds; a pipe would take for ever
KINDS = ("a named pipe", "a socket", "a device")
TRAIN = ["train", "blobs", "--output"]
ALL = ["--labelled", "3", "--val", "1", *tiny(2)]
NEW, AGAIN = [*TRAIN, "new", *ALL], [*TRAIN, "run", *ALL, "--resume", "auto"]
SCAN, LABEL, TEST = (
    "blobs/imagesTr/case_001_0000.png",
    "blobs/labelsTr/case_001.png",
    "blobs/imagesTs/test_000_0000.png",
)
PREDICT = ["predict", "run", "blobs/imagesTs", "out"]
EVALUATE = ["evaluate", "run/predictions", "blobs/labelsTs"]
REPORT, CHECK, RANK = ["report", "run"], ["check", "blobs"], ["rank", "run", "blobs"]
PSEUDO, CONVERT = ["pseudo-label", "run", "blobs", "pseudo"], ["convert", "la", "raw", "la"]
LA = "raw/Training Set/06SR5RBREL16DQ6M8LWS"

REFUSED = [
    (SCAN, NEW),
    (SCAN, CHECK),
    (LABEL, NEW),
    (LABEL, CHECK),
    (TEST, PREDICT),
    (TEST, [*PREDICT[:2], TEST, "out.png"]),
    (TEST, CHECK),
    ("blobs/imagesUn/extra_000_0000.png", RANK),
    ("blobs/imagesUn/extra_000_0000.png", PSEUDO),
    ("blobs/labelsTs/test_000.png", EVALUATE),
    ("run/predictions/test_000.png", EVALUATE),
    ("blobs/dataset.json", CHECK),
    ("blobs/dataset.json", NEW),
    ("blobs/splits.json", [*TRAIN, "new", *tiny(2), "--split", "mine"]),
    ("blobs/splits.json", ["split", "blobs", "--labelled", "2", "--name", "more"]),
    ("run/config.yaml", PREDICT),
    ("run/config.yaml", REPORT),
    ("run/task.json", PREDICT),
    ("run/split.json", RANK),
    ("run/split.json", REPORT),
    ("run/dataset.json", PREDICT),
    ("run/environment.json", REPORT),
    ("run/metrics.csv", REPORT),
    ("run/metrics.csv", AGAIN),
    ("run/checkpoints/last.pt", AGAIN),
    ("run/checkpoints/best.safetensors", PREDICT),
    ("run/checkpoints/best.safetensors", ["export", "run", "model.safetensors"]),
    ("recipe.yaml", [*NEW, "--recipe", "recipe.yaml"]),
    ("suite.yaml", ["bench", "run", "suite.yaml"]),
    ("la/conversion.json", ["convert", "la", "raw", "la/conversion.json"]),
    ("archive.zip", ["convert", "la", "archive.zip", "other"]),
]
PASSED_OVER = [  # what else lies in the folder is taken, or a thing of fewmask's own is made anew
    ("raw/Training Set/pipe.nrrd", ["convert", "la", "raw", "other"]),
    ("blobs/imagesTr/notes.txt", CHECK),
    ("run/trackers.json", AGAIN),
    ("run/predictions/scores.csv", EVALUATE),
    ("run/report.html", REPORT),
]


@contextmanager
def within(seconds):
    """An error in the block, should it last longer."""

    def late(number, frame):
        pytest.fail(f"more than {seconds} s")  # which nobody takes for an error of the system

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def put(path, kind):
    """A special file in place of what may be there."""
    path.unlink(missing_ok=True)
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")  # to make one takes rights; and a data set of links is usual
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            here = path.parent / "s"
            listener.bind(os.path.relpath(here))  # a socket's path must be short
            here.rename(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    write_dataset(place / "blobs", cases=3, unlabelled=1, dims=2, test=2)
    write_la(place / "raw")
    for words in (
        ["split", "blobs", "--labelled", "2", "--name", "mine"],
        [*TRAIN, "run", *ALL],
        ["predict", "run", "blobs/imagesTs", "run/predictions"],
        EVALUATE,
        CONVERT,
    ):
        outcome = call_main(*words, cwd=place)
        assert outcome.code == 0, outcome
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "words"), REFUSED, ids=[f"{words[0]} {name}" for name, words in REFUSED])
def test_refused_by_name(place, name, words, kind):
    put(place / name, kind)
    with within(PATIENCE):
        outcome = call_main(*words, cwd=place)
    said = outcome.out if words is CHECK and outcome.out else outcome.err
    assert outcome.code in (1, 2), outcome
    assert name.rsplit("/", 1)[-1] in said.replace("\n", ""), said
    assert "Traceback" not in said and "fault of fewmask" not in said and "Error" not in said.split(":")[0]
    if words is not CHECK:
        assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1, outcome.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "words"), PASSED_OVER, ids=[f"{words[0]} {name}" for name, words in PASSED_OVER])
def test_passed_over(place, name, words, kind):
    put(place / name, kind)
    with within(PATIENCE):
        outcome = call_main(*words, cwd=place)
    assert outcome.code == 0, outcome


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["image.json", "image.npy", "label.json", "label.npy", "foreground.npy"])
def test_a_prepared_case_is_made_anew(place, name, kind):
    (path,) = (place / "blobs/.fewmask/store").rglob(f"case_001/{name}")
    before = path.read_bytes()
    put(path, kind)
    with within(PATIENCE):
        outcome = call_main(*NEW, cwd=place)
    assert outcome.code == 0, outcome
    assert path.read_bytes() == before and stat.S_ISREG(path.lstat().st_mode)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".bmp", ".tif", ".jpg"])
def test_every_format(tmp_path, ending, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        put(tmp_path / f"scan{ending}", kind)
        for read in (read_image, read_label, read_geometry):
            with within(5), pytest.raises(DataError, match=rf"scan\{ending}: is {kind} and no file; remove it"):
                read(tmp_path / f"scan{ending}")


def test_what_belongs_to_a_scan(tmp_path):
    """The second file of an .mhd, the spacing beside a stack of pages."""
    header = "ObjectType = Image\nNDims = 2\nDimSize = 3 4\nElementType = MET_UCHAR\nElementDataFile = scan.raw\n"
    (tmp_path / "scan.mhd").write_text(header)
    os.mkfifo(tmp_path / "scan.raw")
    with within(5), pytest.raises(DataError, match=r"scan\.mhd: keeps its voxels in scan\.raw"):
        read_image(tmp_path / "scan.mhd")
    import tifffile

    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((3, 4, 5), np.uint8), metadata={"axes": "ZYX"})
    os.mkfifo(tmp_path / "stack.json")
    with within(5):
        assert read_image(tmp_path / "stack.tif").geometry.spacing == (1.0, 1.0, 1.0)


def test_a_series_with_a_pipe_in_it(tmp_path):
    """Files of a DICOM export are found by what they hold: what is no file is not opened."""
    write_series(tmp_path / "raw" / "patient", np.arange(60, dtype=np.int16).reshape(4, 3, 5))
    os.mkfifo(tmp_path / "raw" / "patient" / "more.dcm")
    with within(PATIENCE):
        outcome = call_main("convert", "dicom", "raw", "out", cwd=tmp_path)
    assert outcome.code == 0, outcome


def call_without_privileges(*words, cwd):
    """The program in a child of this process that may not read what it has no right to read, though it be root's."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                _drop_capabilities()
            outcome = call_main(*words, cwd=cwd)
            os.write(writing, json.dumps([outcome.code, outcome.out + outcome.err]).encode()[:60000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer, within(PATIENCE):
        code, said = json.loads(answer.read())
    os.waitpid(child, 0)
    return code, said


def _drop_capabilities():
    """Those to pass by the rights of files (1 and 2 of capabilities(7)); all others stay."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    system = ctypes.CDLL(None)
    assert system.capget(header, data) == 0
    data[0] &= ~0b110
    assert system.capset(header, data) == 0


UNREADABLE = [
    ("blobs/imagesTr", "check blobs"),
    ("blobs/labelsTr", "check blobs"),
    (SCAN, "check blobs"),
    ("blobs/dataset.json", "check blobs"),
    ("blobs/imagesTs", "predict run blobs/imagesTs out"),
    (TEST, "predict run blobs/imagesTs out"),
    ("run/config.yaml", "predict run blobs/imagesTs out"),
    ("run/checkpoints", "predict run blobs/imagesTs out"),
    ("raw", "convert la raw new"),
    ("raw/Training Set", "convert la raw new"),
    (LA, "convert la raw new"),
    ("run", "report run --output out.html"),
]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="capabilities of Linux")
@pytest.mark.parametrize(("name", "words"), UNREADABLE)
def test_without_rights(place, name, words):
    (place / name).chmod(0)
    try:
        code, said = call_without_privileges(*words.split(), cwd=place)
    finally:
        (place / name).chmod(0o755)
    assert code == 1, said
    assert name.split("/")[-1][:14] in said and "Traceback" not in said and "fault of fewmask" not in said, said
