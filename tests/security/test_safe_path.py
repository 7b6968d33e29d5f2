"""No process that fewmask starts looks for code in the folder that the user stands in.

In that folder lies a harmless file under the name of each module that such a process imports first; it writes down who imported it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from unittest import mock

import pytest
import yaml

from bench.conftest import RECIPE, SUITE
from cli.conftest import call_main
from fewmask.safe_path import without_current_folder
from helpers import write_dataset
from program import SOURCES, tiny

NAMES = (
    "torch",
    "numpy",
    "safetensors",
    "yaml",
    "typing",
    "multiprocessing",
    "pickle",
    "submitit",
    "cloudpickle",
    "json",
    "fewmask",
)
MARKER = """
import os, sys
with open(@LOG@, "a") as log:
    log.write(f"{__name__} in {sys.argv} {sys.orig_argv}\\n")
raise ImportError("a stranger's file was imported")
"""


class Folder:
    """The current folder, and what was imported from it."""

    def __init__(self, place, log):
        self.place, self.log = place, log

    def trap(self, *but):
        for name in {*NAMES} - {*but}:
            (self.place / f"{name}.py").write_text(MARKER.replace("@LOG@", repr(str(self.log))))

    @property
    def imported(self):
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the user stands: nothing says that it is safe, and PYTHONPATH has an empty part, as ``$PYTHONPATH:/more`` often has."""
    place = tmp_path / "stranger"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}{SOURCES}")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return Folder(place, tmp_path / "imported.log")


def test_the_traps_work(folder):
    folder.trap()
    command = [sys.executable, "-m", "fewmask.bench.work", "absent"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode and "stranger" in done.stderr
    assert folder.imported


@contextmanager
def on_this_machine(place):
    yield ["--jobs", "1"]


@contextmanager
def on_slurm_s_stand_in(place):
    yield ["--executor", "slurm", "--slurm", "cluster=local", "--slurm", "timeout_min=5"]


@contextmanager
def on_dask(place):
    """A cluster that the user has started in the same folder, in the user's own way."""
    distributed = pytest.importorskip("distributed", reason="needs fewmask[dask]")
    with (
        mock.patch.dict(os.environ),  # in which the cluster leaves its own settings of malloc and threads
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, local_directory=str(place / "dask")
        ) as cluster,
    ):
        yield ["--executor", "dask", "--address", cluster.scheduler_address]


@pytest.mark.parametrize("executor", [on_this_machine, on_slurm_s_stand_in, on_dask])
def test_no_executor_imports_from_the_current_folder(folder, tmp_path, executor):
    """With a loader process, for these are processes, too."""
    write_dataset(tmp_path / "blobs", dims=2, cases=3, unlabelled=1, test=1)
    recipe = {**RECIPE, "sampling": {**RECIPE["sampling"], "workers": 1}}
    data = {**SUITE["data"]["blobs"], "dataset": str(tmp_path / "blobs"), "labelled": [2]}
    suite = {**SUITE, "data": {"blobs": data}, "methods": ["supervised"], "seeds": [0]}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(suite))
    with executor(tmp_path) as options:
        folder.trap()
        outcome = call_main("bench", "run", "../small.yaml", "--output", "../out", *options, cwd=folder.place)
    logs = [path.read_text()[-800:] for path in tmp_path.rglob("*log*") if path.is_file()]
    assert outcome.code == 0 and (tmp_path / "out/blobs/2/supervised-seed0/predictions/summary.json").is_file(), (
        outcome,
        logs,
    )
    assert folder.imported == ""


SPAWNED = """
import multiprocessing, sys
from fewmask.safe_path import leave_current_folder
leave_current_folder()

if __name__ == "__main__":
    import os
    here = os.getcwd()
    assert here not in sys.path and "" not in sys.path, sys.path
    for kind in ("spawn", "forkserver"):
        context = multiprocessing.get_context(kind)
        process = context.Process(target=print, args=("hello",))
        process.start(); process.join()
        assert process.exitcode == 0, process.exitcode
"""


def test_processes_of_multiprocessing_do_not_either(folder, tmp_path):
    folder.trap()
    (tmp_path / "installed").mkdir()
    script = tmp_path / "installed" / "program.py"  # as the script `fewmask` lies in its environment's folder
    script.write_text(SPAWNED)
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and done.stdout.count("hello") == 2, done.stderr
    assert folder.imported == ""


def test_the_program_itself_leaves_the_folder(folder, tmp_path):
    """``python -m fewmask`` begins there; before it imports anything that is no part of Python or fewmask it has left."""
    folder.trap("fewmask", "typing", "multiprocessing", "pickle", "json")  # which Python itself may need until then
    write_dataset(tmp_path / "blobs", dims=2, cases=3, unlabelled=1, test=1)
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    words = ["train", tmp_path / "blobs", "--output", tmp_path / "run", "--labelled", "2", *tiny(2)]
    more = ["--set", "train.devices=2", "--set", "train.accelerator=cpu", "--set", "train.iterations=1"]
    command = [sys.executable, "-m", "fewmask", *map(str, words), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    assert folder.imported == ""


def test_an_empty_part_of_the_path_goes_and_others_stay():
    given = os.pathsep.join(["", "/a", "", "b", ""])
    made = without_current_folder({"PYTHONPATH": given, "HOME": "/h"})
    assert made == {"PYTHONPATH": os.pathsep.join(["/a", "b"]), "PYTHONSAFEPATH": "1", "HOME": "/h"}
    assert without_current_folder({}) == {"PYTHONSAFEPATH": "1"}
