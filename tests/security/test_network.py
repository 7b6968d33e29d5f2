"""Nothing that fewmask does opens a network connection."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from cli.conftest import tiny
from helpers import write_dataset

# Runs in every Python process of the test, before anything else: sockets between processes of one machine stay allowed.
GUARD = """
    import socket, sys

    LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo", "urllib.Request")

    def guard(event, arguments):
        out = event in ("socket.connect", "socket.bind", "socket.sendto") and arguments[0].family != socket.AF_UNIX
        if event == "socket.bind" and arguments[1][:2] == ("::1", 0):
            return  # how urllib3, when it is imported, finds out whether the machine has IPv6
        if out or event in LOOK_UPS:
            with open(@LOG@, "a") as log:
                log.write(f"{event} {arguments[1:]}\\n")
            raise PermissionError(f"network: {event}")

    sys.addaudithook(guard)
"""
CHAIN = """
    import contextlib, socket, sys
    from fewmask.cli import main

    for target in (("192.0.2.1", 80), ("example.invalid", 80)):  # the guard works
        with contextlib.suppress(PermissionError):
            socket.create_connection(target, timeout=1)
            sys.exit("the guard let a connection pass")
    open(@LOG@, "w").close()
    tiny = sys.argv[1:]
    for words in (
        ["check", "blobs", "--thumbnails", "thumbnails"],
        ["train", "blobs", "--output", "run", "--method", "ua-mt", "--labelled", "2", "--val", "1", *tiny],
        ["predict", "run", "blobs/imagesTs", "run/predictions", "--uncertainty"],
        ["evaluate", "run/predictions", "blobs/labelsTs"],
        ["rank", "run", "blobs"],
        ["pseudo-label", "run", "blobs", "pseudo"],
        ["report", "run"],
        ["export", "run", "model.pt2"],
        ["doctor"],
        ["methods"],
        ["networks"],
    ):
        sys.argv = ["fewmask", *words]
        main_ended = 0
        try:
            main()
        except SystemExit as end:
            main_ended = end.code or 0
        assert main_ended == 0, words
    assert "fewmask.inference.predictor" in sys.modules
"""


def test_check_train_predict_score_report_and_export_stay_on_the_machine(tmp_path):
    write_dataset(tmp_path / "blobs", cases=4, unlabelled=1, dims=2, test=2)
    log = tmp_path / "connections.log"
    guard, chain = (textwrap.dedent(text).replace("@LOG@", repr(str(log))) for text in (GUARD, CHAIN))
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(guard)
    paths = [str(tmp_path / "guard"), str(Path(__file__).resolve().parents[2] / "src")]
    settings = [*tiny(2), "--set", "sampling.workers=1", "--set", "train.loggers=[tensorboard,mlflow,wandb]"]
    done = subprocess.run(
        [sys.executable, "-c", chain, *settings],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert log.read_text() == ""
    assert (tmp_path / "run" / "report.html").is_file() and (tmp_path / "model.pt2").is_file()
