"""The `fewmask` program in processes that need not import torch first: a parent that has done so forks them.

Reads JSON lines, writes JSON lines: ``{"start": [words], "cwd": folder, "log": file}`` answers the process id,
``{"wait": pid}`` the exit code, negative where a signal ended it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import lightning_fabric
import matplotlib.backends.backend_svg
import matplotlib.figure
import nibabel
import rich.progress
import safetensors.torch
import scipy.ndimage
import scipy.spatial
import SimpleITK
import torch

import fewmask.cli.app
import fewmask.data.check
import fewmask.data.check.thumbnails
import fewmask.data.convert.run
import fewmask.data.phantom
import fewmask.demo
import fewmask.engine.train
import fewmask.inference.predictor
import fewmask.inference.pseudo_dataset
import fewmask.inference.rank
import fewmask.metrics.evaluate
import fewmask.report.html
import fewmask.report.rank_page
import fewmask.report.svg

torch.set_num_threads(1)
LOADED = (
    lightning_fabric,
    matplotlib.backends.backend_svg,
    matplotlib.figure,
    scipy.ndimage,
    scipy.spatial,
    nibabel,
    rich.progress,
    safetensors.torch,
    SimpleITK,
    fewmask.engine.train,
    fewmask.inference.predictor,
    fewmask.inference.pseudo_dataset,
    fewmask.inference.rank,
    fewmask.data.check.thumbnails,
    fewmask.data.convert.run,
    fewmask.metrics.evaluate,
    fewmask.report.html,
    fewmask.report.rank_page,
    fewmask.report.svg,
)


WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}


def kill_at(number: int, place: str, count: str) -> None:
    """End this process at its ``number``-th change of a file below ``place``, just before it; 0: never. The count goes to a file."""
    seen = 0
    counter = os.open(count, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)

    def hook(event: str, words: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event in WRITES
        if event == "open" and isinstance(words[2], int):
            writes = bool(words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not writes or not isinstance(words[0], str | bytes | os.PathLike):
            return
        path = os.fsdecode(words[0])
        if Path(path).is_absolute() and not path.startswith(place):
            return
        seen += 1
        os.pwrite(counter, str(seen).encode(), 0)
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def run(words: list[str], cwd: str, log: str, kill: list[Any] | None, temporary: str | None, small_demo: bool) -> None:
    """The program, in this process, which ends with it."""
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests may have ignored it
    if temporary:
        tempfile.tempdir = temporary
    if small_demo:
        fewmask.demo.SCANS = {"train": 2, "unlabelled": 1, "test": 1}
        fewmask.demo.Phantom = lambda: fewmask.data.phantom.Phantom(shape=(32, 32, 32))
    if kill:
        kill_at(*kill)
    os.chdir(cwd)
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["fewmask", *words]
    code = 0
    try:
        fewmask.cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                words = asked["start"], asked["cwd"], asked["log"]
                run(*words, asked.get("kill"), asked.get("temporary"), asked.get("small_demo", False))
        print(answer, flush=True)


if __name__ == "__main__":
    serve()
