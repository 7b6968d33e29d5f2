"""Nothing that fewmask does opens a network connection, unless the user asks for one of those that SECURITY.md lists."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from unittest import mock

import pytest
import yaml

from bench.conftest import RECIPE, SUITE
from cli.conftest import call_main, tiny
from fewmask.cli.bench import run as bench_run
from fewmask.config import Experiment
from fewmask.methods.semigda_settings import AutoencoderConfig
from helpers import write_dataset
from layouts import write_la

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
    semigda = ["--set", "method.autoencoder.diffusers=nobody/nothing"]
    for words in (
        ["convert", "la", "raw", "la"],
        ["split", "blobs", "--labelled", "2", "--name", "mine"],
        ["check", "blobs", "--thumbnails", "thumbnails"],
        ["train", "blobs", "--output", "run", "--method", "ua-mt", "--labelled", "2", "--val", "1", *tiny],
        ["predict", "run", "blobs/imagesTs", "run/predictions", "--uncertainty"],
        ["evaluate", "run/predictions", "blobs/labelsTs"],
        ["rank", "run", "blobs"],
        ["pseudo-label", "run", "blobs", "pseudo"],
        ["report", "run"],
        ["export", "run", "model.pt2"],
        ["bench", "run", "suite.yaml", "--output", "bench"],
        ["bench", "status", "bench"],
        ["bench", "report", "bench"],
        ["train", "blobs", "--output", "refused", "--method", "semigda", "--labelled", "2", *tiny, *semigda],
        ["datasets"],
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
        assert main_ended == (2 if "refused" in words else 0), words
    assert "fewmask.inference.predictor" in sys.modules
"""


def test_no_verb_leaves_the_machine(tmp_path):
    write_dataset(tmp_path / "blobs", cases=4, unlabelled=1, dims=2, test=2)
    write_la(tmp_path / "raw")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    data = {**SUITE["data"]["blobs"], "dataset": str(tmp_path / "blobs"), "labelled": [2]}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({**SUITE, "data": {"blobs": data}, "seeds": [0]}))
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
    for name in ("la/dataset.json", "bench/report/report.html"):
        assert (tmp_path / name).is_file()


@pytest.fixture
def asked(monkeypatch):
    """Where somebody wanted to connect to; nobody can."""
    wanted = []

    def refuse(name, *arguments, **more):
        wanted.append(name)
        raise OSError("no network in this test")

    def connect(self, address):
        refuse(address)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return wanted


def test_every_connection_is_off_by_default():
    """The others need an address (`--executor dask`), a launcher (torchrun) or a variable of the environment."""
    experiment = Experiment()
    assert experiment.train.loggers == () and experiment.train.devices == experiment.train.nodes == 1
    assert AutoencoderConfig().download is False and AutoencoderConfig().diffusers is None
    command = inspect.signature(bench_run).parameters
    assert command["executor"].default == "local" and command["address"].default is None


def test_weights_are_fetched_on_request_only(asked, tmp_path):
    write_dataset(tmp_path / "blobs", cases=3, unlabelled=1, dims=2)
    words = ["train", "blobs", "--output", "run", "--method", "semigda", "--labelled", "2", *tiny(2)]
    hub = ["--set", "method.autoencoder.diffusers=nobody/nothing"]
    assert "download=true" in call_main(*words, *hub, cwd=tmp_path).err
    assert asked == []
    outcome = call_main(*words, *hub, "--set", "method.autoencoder.download=true", cwd=tmp_path)
    assert outcome.code == 2 and "cannot be loaded" in outcome.err
    assert asked, "download: true asks the hub"


@pytest.mark.filterwarnings("default::fewmask.errors.FewmaskWarning")
def test_a_server_of_mlflow_is_asked_only_where_one_is_named(asked, tmp_path, monkeypatch):
    write_dataset(tmp_path / "blobs", cases=3, dims=2)
    words = ["train", "blobs", "--labelled", "2", *tiny(2), "--set", "train.loggers=[mlflow]", "--output"]
    assert call_main(*words, "here", cwd=tmp_path).code == 0
    assert asked == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.invalid")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    outcome = call_main(*words, "there", cwd=tmp_path)
    assert outcome.code == 0 and "mlflow has failed" in outcome.err  # and the training has gone on
    assert {*asked} == {"tracking.invalid"}


def test_weights_and_biases_stays_offline_unless_told(monkeypatch, tmp_path):
    """It connects by a process of its own, so what counts is the mode that it is started in."""
    import wandb

    from fewmask.engine.trackers import WandbLogger
    from fewmask.run_folder import RunFolder

    modes = []
    monkeypatch.setattr(wandb, "init", lambda **settings: modes.append(settings["mode"]))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for mode in (None, "online"):
        if mode:
            monkeypatch.setenv("WANDB_MODE", mode)
        WandbLogger(RunFolder(tmp_path), Experiment())
    assert modes == ["offline", "online"]


def test_dask_is_asked_only_at_the_address_given(asked, tmp_path):
    pytest.importorskip("distributed", reason="needs fewmask[dask]")
    from fewmask.bench.executors import dask_pool
    from fewmask.errors import ConfigError

    with mock.patch("fewmask.bench.executors.PATIENCE", 0.5), pytest.raises(ConfigError, match="no Dask scheduler"):  # noqa: SIM117
        with dask_pool("tcp://192.0.2.1:8786"):
            pass
    assert {*asked} == {"192.0.2.1"}
