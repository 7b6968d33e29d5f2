import csv
import json
import os
import signal

import pytest
import yaml
from safetensors.torch import load_file

from fewmask.cli.progress import TrainingBar
from helpers import write_dataset


def test_options_and_assignments_reach_the_config(cli, runs, place):
    config = yaml.safe_load((runs / "heart/config.yaml").read_text())
    assert config["method"]["name"] == "mean-teacher" and config["method"]["ema_decay"] == 0.99  # defaults spelled out
    assert config["train"]["iterations"] == 4 and config["sampling"]["patch_size"] == [16, 16, 16]
    split = json.loads((runs / "heart/split.json").read_text())
    assert len(split["labelled"]) == 1 and len(split["validation"]) == 1


def test_last_line_names_the_test_scans(cli, place, train_words):
    outcome = cli(*train_words("heart", "runs/again", "--json"))
    assert json.loads(outcome.out) == {"run": "runs/again", "weights": "runs/again/checkpoints/best.safetensors"}
    outcome = cli(*train_words("heart", "runs/next"))
    assert outcome.next == ["predict", "runs/next", "heart/imagesTs", "runs/next/predictions"]


def test_recipe_of_the_user_with_options_on_top(cli, place):
    (place / "mine.yaml").write_text("method: {name: ua-mt, passes: 3}\ntrain: {iterations: 7, lr: 0.02}\n")
    words = ["train", "heart", "--recipe", "mine.yaml", "--set", "train.lr=0.03", "--set", "network.width=2"]
    outcome = cli(*words, "--set", "sampling.patch_size=[16,16,16]", "--labelled", "2", "--dry-run", "--json")
    plan = json.loads(outcome.out)
    assert plan["method"] == "ua-mt" and plan["iterations"] == 7 and plan["patch"] == "16 x 16 x 16"


def test_dry_run_writes_no_run_and_suggests_itself_without_the_flag(cli, place, train_words):
    words = train_words("heart", "runs/dry")
    outcome = cli(*words, "--dry-run")
    assert outcome.code == 0 and "1 labelled" in outcome.out and "GiB" in outcome.out
    assert outcome.next == words and not (place / "runs/dry").exists()


def test_existing_run_is_refused(cli, runs, train_words):
    outcome = cli(*train_words("heart", "runs/heart", "--method", "mean-teacher"))
    assert outcome.code == 1 and "runs/heart already holds a run: continue it with --resume auto" in outcome.err


def test_folder_with_other_files_is_refused(cli, train_words):
    outcome = cli(*train_words("heart", "skin"))
    assert outcome.code == 1 and "skin is not empty and not a run folder" in outcome.err


def test_a_level_of_one_value_under_batch_norm_is_told(cli, train_words):
    patches = ["--set", "network.norm=batch", "--set", "sampling.labelled=1"]
    outcome = cli(*train_words("heart", "runs/one-value", "--method", "supervised", *patches))
    assert outcome.code == 1 and "one value per channel" in outcome.err and "larger sampling.patch_size" in outcome.err


def test_resume_under_other_settings_is_refused(cli, runs, train_words):
    words = train_words("heart", "runs/heart", "--method", "mean-teacher", "--resume", "auto")
    outcome = cli(*words, "--set", "train.lr=0.5")
    assert outcome.code == 2 and "train.lr (0.01 then, 0.5 now)" in outcome.err and "iterations" not in outcome.err
    outcome = cli(*words, "--seed", "1")
    assert outcome.code == 2 and "the split" in outcome.err


def test_interrupted_run_continues_to_the_same_weights(cli, runs, place, train_words, monkeypatch):
    step = TrainingBar.step

    def interrupt(bar, done, values):
        step(bar, done, values)
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    words = train_words("heart", "runs/stopped", "--method", "mean-teacher", "--resume", "auto")
    with monkeypatch.context() as patched:
        patched.setattr(TrainingBar, "step", interrupt)
        outcome = cli(*words)
    assert outcome.code == 130 and "stopped after 3 of 4 iterations" in outcome.err and "--resume auto" in outcome.err
    assert cli(*words).code == 0
    stopped, whole = (
        load_file(place / "runs" / name / "checkpoints/last.safetensors") for name in ("stopped", "heart")
    )
    assert all(stopped[key].equal(whole[key]) for key in whole)
    rows = list(csv.DictReader((place / "runs/stopped/metrics.csv").open()))
    assert [row["iteration"] for row in rows] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "give --output, the run folder to write"),
        (
            ["--output", "x", "--set", "train.iteratons=5"],
            2,
            "unknown key 'train.iteratons', did you mean 'iterations'?",
        ),
        (["--output", "x", "--set", "tran.lr=1"], 2, "unknown key 'tran', did you mean 'train'?"),
        (["--output", "x", "--set", "train.iterations=five"], 2, "train.iterations"),
        (["--output", "x", "--set", "train.iterations"], 2, "write KEY=VALUE"),
        (["--output", "x", "--set", "method.noise=1"], 2, "method supervised: unknown key 'noise'"),
        (["--output", "x", "--method", "cpss"], 2, "there is no method named 'cpss': did you mean 'cps'?"),
        (["--output", "x", "--set", "network.name=unet"], 2, "there is no network named 'unet'"),
        (["--output", "x", "--recipe", "la/uamt"], 2, "there is no recipe 'la/uamt': did you mean 'la/ua-mt'"),
        (["--output", "x", "--recipe", "absent.yaml"], 2, "absent.yaml: there is no such file"),
        (["--output", "x", "--labelled", "1", "--split", "s"], 2, "either --split or --labelled and --val"),
        (["--output", "x", "--split", "absent"], 1, "heart/splits.json: has no split 'absent'"),
        (["--output", "x", "--labelled", "40"], 1, "only 4 training cases have labels"),
        (["--output", "x", "--set", "sampling.patch_size=[20,16,16]"], 2, "multiple of 16; nearest: [16, 16, 16]"),
        (["--output", "x", "--set", "sampling.patch_size=[16,16]"], 2, "has 2 numbers, but the scans are 3D"),
    ],
)
def test_wrong_words_are_one_line_and_leave_nothing(cli, place, words, code, text):
    outcome = cli("train", "heart", *words)
    assert outcome.code == code and outcome.out == ""
    assert outcome.err.startswith("error: ") and text in outcome.err and len(outcome.err.splitlines()) == 1
    assert not (place / "x").exists()


@pytest.mark.parametrize("words", [["--outptu", "x"], ["--resume", "perhaps"], ["--seed", "-1"], ["more"]])
def test_usage_errors_exit_2(cli, words):
    outcome = cli("train", "heart", *words)
    assert outcome.code == 2 and "Usage: fewmask train" in outcome.err and "Traceback" not in outcome.err


def test_method_without_unlabelled_scans_is_told_to(cli, place):
    write_dataset(place / "labelled", cases=2, dims=2)
    outcome = cli("train", "labelled", "--method", "cps", "--output", "x")
    assert outcome.code == 2 and "--method supervised" in outcome.err
