import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from fewmask.bench.launch import Outcome
from fewmask.bench.notes import LOG, Notes
from fewmask.bench.work import attend
from fewmask.cli import bench

BROKEN = {"name": "supervised", "label": "broken", "set": {"sampling.patch_size": [16, 16, 16]}}
SUITE = {
    "title": "tiny",
    "data": {"skin": {"recipe": "tiny.yaml", "labelled": [2]}},
    "methods": ["supervised", BROKEN],
    "seeds": [0],
    "set": {"train.iterations": 2, "sampling.workers": 0, "network.width": 2, "sampling.patch_size": [32, 32]},
}


@pytest.fixture
def suite(place):
    (place / "tiny.yaml").write_text("train: {accelerator: cpu}\n")
    (place / "tiny-suite.yaml").write_text(yaml.safe_dump(SUITE))
    return "tiny-suite.yaml"


def in_this_process(notes, devices, share, stop):
    """The work without a process of its own."""
    Path(notes, LOG).touch()
    code = attend(Path(notes))
    return Outcome("failed" if code else "done", Notes.read(Path(notes)).error)


def test_bench_run_and_status(cli, suite, place, monkeypatch):
    monkeypatch.setattr("fewmask.bench.executors.run_job", in_this_process)
    outcome = cli("bench", "run", suite)
    assert outcome.code == 2 and "give --data skin=FOLDER" in outcome.err
    outcome = cli("bench", "run", suite, "--data", "skin", "--dry-run")
    assert outcome.code == 0 and "skin/2/supervised-seed0" in outcome.out, outcome.err
    outcome = cli("bench", "status", suite)
    assert outcome.code == 0 and "0 of 2 runs done; time left: unknown yet" in outcome.out, outcome.err
    assert outcome.next == ["bench", "run", "bench/tiny-suite"]
    outcome = cli(*outcome.next, "--jobs", "1")
    assert outcome.code == 1 and "/2] skin/2/supervised-seed0: Dice" in outcome.out, outcome.err + outcome.out
    assert "failed: skin/2/broken-seed0: sampling.patch_size has 3 numbers" in outcome.out
    assert "jobs/skin/2/broken-seed0/log.txt" in outcome.out and outcome.next == ["bench", "run", "bench/tiny-suite"]
    assert (place / "bench/tiny-suite/skin/2/supervised-seed0/predictions/summary.json").is_file()
    values = json.loads(cli("bench", "status", "bench/tiny-suite", "--json").out)
    assert (values["done"], values["failed"], values["seconds_left"]) == (1, 1, 0)
    assert "sampling.patch_size has 3 numbers" in cli("bench", "status", "bench/tiny-suite").out
    (place / "tiny-suite.yaml").write_text(yaml.safe_dump({**SUITE, "methods": ["supervised"]}))
    outcome = cli("bench", "run", suite, "--data", "skin")
    assert outcome.code == 0 and outcome.next == ["bench", "report", "bench/tiny-suite"], outcome.err
    (place / "bench/tiny-suite/skin/2/supervised-seed0/predictions/summary.json").unlink()
    changed = {**SUITE, "set": {**SUITE["set"], "train.lr": 0.5}}
    (place / "tiny-suite.yaml").write_text(yaml.safe_dump(changed))
    outcome = cli("bench", "run", suite, "--data", "skin")
    assert outcome.code == 2 and "was started with other settings: train.lr (0.01 then, 0.5 now)" in outcome.err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--executor", "dask"], "--address"),
        (["--address", "tcp://x:1"], "--executor dask"),
        (["--slurm", "partition=gpu"], "--executor slurm"),
        (["--data", "skni=skin"], "did you mean 'skin'"),
        (["--jobs", "0"], "jobs"),
    ],
)
def test_bench_usage(cli, suite, words, error):
    outcome = cli("bench", "run", suite, *words)
    assert outcome.code == 2 and error in outcome.err


def test_bench_suites(cli):
    assert "smoke" in cli("bench", "suites").out
    assert {suite["name"] for suite in json.loads(cli("bench", "suites", "--json").out)} >= {"smoke", "la-cpu"}
    assert "did you mean 'smoke'" in cli("bench", "run", "smoek").err


def test_scores_that_cannot_be_seen_yet_end_nothing(tmp_path):
    """Another machine's file on a shared disk."""
    assert bench._dice(SimpleNamespace(summary=tmp_path / "summary.json")) == "done"


def test_folders_of_data_sets():
    pairs = {"heart=a/b": ("heart", "a/b"), "a/b": ("", "a/b"), "a/b=c": ("", "a/b=c"), "x=a=b": ("x", "a=b")}
    assert {text: next(iter(bench._folders([text]).items())) for text in pairs} == {
        text: (name, Path(folder)) for text, (name, folder) in pairs.items()
    }
