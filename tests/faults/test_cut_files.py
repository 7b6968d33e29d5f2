"""Every text file of a run folder cut short anywhere: it is refused with a sentence, or nothing of it was lost."""

from __future__ import annotations

import random
import shutil

import pytest

from fewmask.bench.suite_files import read_suite, to_yaml
from fewmask.engine.loggers import read_all_metrics
from fewmask.errors import ConfigError, RunError
from fewmask.inference.weights import save_weights
from fewmask.report.data import read_run
from fewmask.run_folder import RunFolder
from fewmask.whole import read_whole, write_whole
from helpers import write_dataset
from report.fake_runs import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with weights that say how far it came."""
    import torch

    place = tmp_path_factory.mktemp("cut")
    made = write_run(place / "run", write_dataset(place / "data", cases=4, test=2), iterations=6)
    save_weights(
        RunFolder(made).checkpoints / "last.safetensors", torch.nn.Linear(1, 1), {"iteration": "6", "row": "6"}
    )
    return made


TEXTS = [
    "config.yaml", "task.json", "split.json", "dataset.json", "environment.json", "metrics.csv", "predictions/scores.csv",
    "predictions/summary.json",
]  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_cut_file_is_refused(run, tmp_path, name):
    """Read by the report, which reads them all; without its last line end alone, JSON says all that it said."""
    whole = (run / name).read_bytes()
    copy = shutil.copytree(run, tmp_path / "run")
    read_run(copy, "run", 0)
    cuts = range(len(whole)) if len(whole) < 60 else random.Random(0).sample(range(len(whole)), 60)
    harmless = {len(whole) - 1} if name.endswith(".json") else {0} if name == "metrics.csv" else set()
    for length in {0, len(whole) - 2, *cuts} - harmless:
        (copy / name).write_bytes(whole[:length])
        with pytest.raises(RunError) as error:
            read_run(copy, "run", 0)
        assert name.split("/")[-1] in str(error.value), (length, str(error.value))


def test_a_config_without_its_first_line_is_taken(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    config = copy / "config.yaml"
    config.write_text(read_whole(config).replace("width: 16", "width: 3"))
    assert RunFolder(copy).experiment().network.width == 3
    config.write_text((run / "config.yaml").read_text().replace("width: 16", "width: 3"))
    with pytest.raises(RunError, match="cut short or changed; who changed it on purpose removes its first line"):
        RunFolder(copy).experiment()


def test_scores_of_another_evaluation(run, tmp_path):
    """As a kill between the two files leaves them."""
    copy = shutil.copytree(run, tmp_path / "run")
    scores = copy / "predictions" / "scores.csv"
    scores.write_text(scores.read_text().replace("0.", "0.1", 1))
    with pytest.raises(RunError, match=r"scores\.csv cannot be used .*: run fewmask evaluate again"):
        read_run(copy, "run", 0)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_missing_rows(tmp_path, rows):
    path = tmp_path / "metrics.csv"
    path.write_text("iteration,loss\n2,0.5\n4,0.4\n6,0.3\n")
    lines = path.read_text().splitlines(keepends=True)
    assert [row["iteration"] for row in read_all_metrics(path, 6)] == ["2", "4", "6"]
    path.write_text("".join(lines[: 1 + rows]))
    with pytest.raises(
        RunError, match=f"rows end with iteration {2 * rows}, but the last checkpoint knows of one of 6; restore it"
    ):
        read_all_metrics(path, 6)
    path.unlink()
    assert read_all_metrics(path, 6) == []


def test_a_cut_suite(tmp_path):
    from fewmask.bench.suite_files import find_suite

    path = tmp_path / "suite.yaml"
    write_whole(path, to_yaml(find_suite("smoke")))
    assert read_suite(path).name == "smoke"
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match=r"suite\.yaml"):
            read_suite(path)


def test_a_training_does_not_go_on_without_its_rows(server, words, undisturbed, tmp_path):
    copy = shutil.copytree(undisturbed("mean-teacher", train__iterations=6), tmp_path / "run")
    rows = (copy / "metrics.csv").read_text().splitlines(keepends=True)
    (copy / "metrics.csv").write_text("".join(rows[:-1]))
    assert "metrics.csv was cut short: its rows end with" in server.run(*words(copy, train__iterations=6), code=1)
    (copy / "metrics.csv").unlink()
    server.run(*words(copy, train__iterations=6))
