"""The loop on toy methods and a toy data set, through the same door as the command line."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fewmask.data.dataset import Dataset
from fewmask.data.phantom import Phantom, write_phantom
from fewmask.data.split import Split
from fewmask.engine.checkpoint import load_state
from fewmask.engine.distributed import make_fabric
from fewmask.engine.fit import Trainer
from fewmask.engine.interrupt import InterruptedRunError
from fewmask.engine.job import assemble
from fewmask.engine.loggers import read_metrics
from fewmask.engine.train import train
from fewmask.errors import ConfigError, RunError
from fewmask.methods import Method, Phase, SoftmaxPredictor, Step, Turn, method_config
from fewmask.run_folder import RunFolder
from helpers import write_dataset
from toys import Recorder, registered, small_experiment

SPLIT = Split(labelled=("case_000", "case_001", "case_002", "case_003"), unlabelled=("extra_000", "extra_001"))
VALIDATED = Split(labelled=("case_000", "case_001"), validation=("case_002", "case_003"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "Dataset001_Blobs"
    return Dataset.open(write_dataset(root, cases=4, unlabelled=2, dims=2))


class TwoTurns(Method):
    """Two 1x1 convolutions: the first alone learns from unlabelled patches, then both take turns."""

    seen: list[tuple[str, str, int, int, int, int]] = []  # noqa: RUF012 (one list for the test to read)
    values: list[tuple[list[float], ...]] = []  # noqa: RUF012

    def __init__(self, task, config, network):
        super().__init__(task, config, network)
        self.first, self.second = (nn.Conv2d(task.in_channels, task.num_classes, 1) for _ in range(2))

    def phases(self):
        return [Phase("warm-up", 4, labelled=False), Phase("main")]

    def turns(self, phase):
        first = Turn("first", list(self.first.parameters()), {"optimiser": "adam", "lr": 0.001})
        return [first] if phase == "warm-up" else [first, Turn("second", list(self.second.parameters()))]

    def forward(self, batch, progress):
        kind = (progress.phase, progress.turn, progress.iteration, progress.iterations)
        self.seen.append((*kind, len(batch.labelled), len(batch.unlabelled)))
        self.values.append(tuple(part.weight.flatten().tolist() for part in (self.first, self.second)))
        noise = torch.rand(())  # randomness that a resumed run must see again
        if progress.phase == "warm-up":
            return Step(self.first(batch.unlabelled).square().mean() * noise, {"noise": noise})
        logits = self.first(batch.labelled) + self.second(batch.labelled)  # each turn's loss reaches both
        return self.supervised(logits, batch.labels)

    def predictor(self):
        return SoftmaxPredictor(self.first)


@pytest.fixture
def two_turns():
    TwoTurns.seen, TwoTurns.values = [], []
    with registered("two-turns", TwoTurns):
        yield TwoTurns


# ------------------------------------------------------------------------------------------------- phases and turns


def test_phases_and_turns_come_in_order(two_turns, dataset, tmp_path):
    train(small_experiment("two-turns"), dataset, SPLIT, tmp_path / "run", listener=(heard := Recorder()))
    warm = [("warm-up", "first", i, 4, 0, 2) for i in range(4)]
    main = [("main", turn, i, 6, 2, 2) for i in range(6) for turn in ("first", "second")]
    assert two_turns.seen == warm + main
    assert heard.begun == (0, 10)
    assert [done for done, _ in heard.steps] == list(range(1, 11))


def test_a_turn_changes_its_own_parameters_only(two_turns, dataset, tmp_path):
    train(small_experiment("two-turns"), dataset, SPLIT, tmp_path / "run")
    # The weights as each forward saw them: what differs between two forwards is what the turn in between moved.
    for (phase, turn, *_), now, after in zip(two_turns.seen, two_turns.values, two_turns.values[1:], strict=False):
        moved = (now[0] != after[0], now[1] != after[1])
        assert moved == ((True, False) if turn == "first" else (False, True)), (phase, turn)


def test_turns_have_their_own_optimisers_and_log_names(two_turns, dataset, tmp_path):
    run = train(small_experiment("two-turns"), dataset, SPLIT, tmp_path / "run")
    groups = {name: saved["param_groups"][0] for name, saved in load_state(run.state)["optimisers"].items()}
    assert set(groups) == {"first", "second"}
    assert "betas" in groups["first"]
    assert groups["second"]["momentum"] == 0.9
    # The schedule runs on each turn's own rate, and over the phase's own length.
    assert groups["first"]["lr"] == pytest.approx(0.001 * (1 - 5 / 6) ** 0.9)
    assert groups["second"]["lr"] == pytest.approx(0.02 * (1 - 5 / 6) ** 0.9)
    rows = read_metrics(run.metrics)
    assert [row["phase"] for row in rows] == ["warm-up"] * 4 + ["main"] * 6
    assert rows[0]["loss"] and rows[0]["noise"] and not rows[0]["first/loss"]
    assert rows[-1]["first/loss"] and rows[-1]["second/ce"] and not rows[-1]["loss"]


def test_every_step_has_its_own_randomness_and_a_seed_gives_it_again(two_turns, dataset, tmp_path):
    def noise(name, seed):
        run = train(small_experiment("two-turns", train={"seed": seed}), dataset, SPLIT, tmp_path / name)
        return [row["noise"] for row in read_metrics(run.metrics)[:4]]

    first = noise("first", 0)
    assert len(set(first)) == 4
    assert noise("again", 0) == first
    assert not set(noise("other", 1)) & set(first)


@pytest.mark.parametrize("stop", [2, 4, 5, 7])
def test_resume_in_a_phase_and_at_the_border(two_turns, dataset, tmp_path, stop):
    """Step 4 ends the first phase: a run that stops there continues with the second, with fresh optimisers."""
    experiment = small_experiment("two-turns")
    whole = train(experiment, dataset, SPLIT, tmp_path / "whole")
    undisturbed, two_turns.seen = two_turns.seen, []
    with pytest.raises(InterruptedRunError, match=f"stopped after {stop} of 10"):
        train(experiment, dataset, SPLIT, tmp_path / "cut", listener=Recorder(stop_after=stop))
    cut = train(experiment, dataset, SPLIT, tmp_path / "cut", resume=True, listener=(heard := Recorder()))
    assert heard.begun == (stop, 10)
    assert two_turns.seen == undisturbed, "no step twice, none left out"
    states = [load_state(run.state) for run in (whole, cut)]
    for part in ("method", "optimisers"):
        torch.testing.assert_close(states[0][part], states[1][part], rtol=0, atol=0)
    drop = {"seconds": ""}
    assert [row | drop for row in read_metrics(whole.metrics)] == [row | drop for row in read_metrics(cut.metrics)]


def test_resume_repeats_what_came_after_the_checkpoint(two_turns, dataset, tmp_path):
    """A run that dies without warning loses the steps since its last checkpoint and takes them again."""

    class Dies(Recorder):
        def step(self, done, values):
            if done == 5:
                raise KeyboardInterrupt

    experiment = small_experiment("two-turns", train={"checkpoint_every": 3})
    whole = train(experiment, dataset, SPLIT, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(experiment, dataset, SPLIT, tmp_path / "cut", listener=Dies())
    assert len(read_metrics(tmp_path / "cut" / "metrics.csv")) == 5
    cut = train(experiment, dataset, SPLIT, tmp_path / "cut", resume=True, listener=(heard := Recorder()))
    assert heard.begun == (4, 10)  # the border of the phases is a checkpoint too
    assert whole.weights().read_bytes() == cut.weights().read_bytes()
    assert [row["iteration"] for row in read_metrics(cut.metrics)] == [str(i) for i in range(1, 11)]


def test_a_finished_run_can_be_resumed_and_does_nothing(dataset, tmp_path):
    experiment = small_experiment()
    run = train(experiment, dataset, SPLIT, tmp_path / "run")
    before = run.weights().read_bytes(), run.metrics.read_text()
    train(experiment, dataset, SPLIT, tmp_path / "run", resume=True, listener=(heard := Recorder()))
    assert heard.begun == (6, 6)
    assert heard.steps == []
    assert (run.weights().read_bytes(), run.metrics.read_text()) == before


def test_resume_of_nothing_begins(dataset, tmp_path):
    run = train(small_experiment(), dataset, SPLIT, tmp_path / "run", resume=True)
    assert len(read_metrics(run.metrics)) == 6


# ------------------------------------------------------------------------------------------------------------ one step


def weights_after(dataset, folder, **changes):
    run = train(small_experiment(**changes), dataset, SPLIT, folder)
    return load_file(run.weights("last"))


def test_accumulated_gradients_equal_a_larger_batch(dataset, tmp_path):
    """Cross-entropy alone: the Dice loss pools over its batch and so does not split."""
    shared = {"method": {"dice_weight": 0.0}}
    small = weights_after(
        dataset, tmp_path / "small", sampling={"labelled": 2}, train={"accumulate": 2, "iterations": 3}, **shared
    )
    large = weights_after(dataset, tmp_path / "large", sampling={"labelled": 4}, train={"iterations": 3}, **shared)
    other = weights_after(dataset, tmp_path / "other", sampling={"labelled": 2}, train={"iterations": 3}, **shared)
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(small[key], other[key], rtol=1e-4, atol=1e-6) for key in small)


def test_the_gradient_norm_is_clipped(two_turns, dataset, tmp_path):
    """With plain sgd one step moves the weights by the learning rate times the clipped norm."""
    train_settings = {"clip_norm": 1e-3, "momentum": 0.0, "weight_decay": 0.0, "iterations": 1, "lr": 0.5}
    experiment = small_experiment(train=train_settings)
    job = assemble(experiment, dataset, SPLIT)
    trainer = Trainer(job, RunFolder(tmp_path / "run"))
    before = [p.detach().clone() for p in trainer.method.parameters()]
    trainer.fit()
    moved = sum(
        float((p.detach() - q).square().sum()) for p, q in zip(trainer.method.parameters(), before, strict=True)
    )
    assert math.sqrt(moved) == pytest.approx(0.5 * 1e-3, rel=1e-4)


def test_the_learning_rate_of_each_row_is_the_schedules(dataset, tmp_path):
    run = train(
        small_experiment(train={"schedule": "step", "step_every": 2, "step_factor": 0.5}),
        dataset,
        SPLIT,
        tmp_path / "run",
    )
    rates = [float(row["lr"]) for row in read_metrics(run.metrics)]
    assert rates == pytest.approx([0.02, 0.02, 0.01, 0.01, 0.005, 0.005])


def test_rows_are_means_since_the_last_one(dataset, tmp_path):
    each = train(small_experiment(), dataset, SPLIT, tmp_path / "each")
    some = train(small_experiment(train={"log_every": 4}), dataset, SPLIT, tmp_path / "some")
    losses = [float(row["loss"]) for row in read_metrics(each.metrics)]
    rows = read_metrics(some.metrics)
    assert [row["iteration"] for row in rows] == ["4", "6"]
    assert float(rows[0]["loss"]) == pytest.approx(sum(losses[:4]) / 4, rel=1e-4)
    assert float(rows[1]["loss"]) == pytest.approx(sum(losses[4:]) / 2, rel=1e-4)


def test_bf16_trains_and_saves_float32(dataset, tmp_path):
    weights = weights_after(dataset, tmp_path / "run", train={"precision": "bf16"})
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert all(value.isfinite().all() for value in weights.values())


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(ConfigError, match="precision fp16 needs a GPU"):
        make_fabric(small_experiment(train={"precision": "fp16"}).train)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        make_fabric(small_experiment(train={"accelerator": "gpu"}).train)


class Diverges(TwoTurns):
    """Fine for three steps, then not a number."""

    def phases(self):
        return [Phase()]

    def turns(self, phase):
        return [Turn("main", list(self.parameters()))]

    def forward(self, batch, progress):
        step = self.supervised(self.first(batch.labelled), batch.labels)
        step.loss = step.loss * (float("nan") if progress.iteration >= 3 else 1.0)
        return step


def test_a_rounding_run_that_diverges_is_told_of_fp32(dataset, tmp_path):
    experiment = small_experiment("diverges", train={"precision": "bf16"})
    with registered("diverges", Diverges), pytest.raises(RunError, match=r"with train\.precision=fp32, with a lower"):
        train(experiment, dataset, SPLIT, tmp_path / "run")


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_loss_that_is_no_number_stops_the_run_with_a_whole_checkpoint(dataset, tmp_path, clip):
    experiment = small_experiment("diverges", train={"checkpoint_every": 2, "clip_norm": clip})
    with registered("diverges", Diverges):
        with pytest.raises(RunError, match=r"a lower train\.lr.*the checkpoint of iteration 2 is whole") as error:
            train(experiment, dataset, SPLIT, tmp_path / "run")
        run = RunFolder.open(tmp_path / "run")
        cases = assemble(experiment, dataset, SPLIT).stream(Phase()).batch(3).cases
    assert f"loss became nan at iteration 4, on patches of {', '.join(cases)}:" in str(error.value)
    assert load_state(run.state)["state"]["done"] == 2
    assert all(value.isfinite().all() for value in load_file(run.weights()).values())


def test_a_volume_trains_from_a_folder(tmp_path):
    data = write_phantom(tmp_path / "Dataset002_Volumes", Phantom((24, 20, 12)), train=2, unlabelled=1, test=0)
    experiment = small_experiment("mean-teacher", sampling={"patch_size": [16, 16, 16]}, train={"iterations": 2})
    split = Split(labelled=data.ids("train")[:1], validation=data.ids("train")[1:], unlabelled=data.ids("unlabelled"))
    run = train(experiment, data, split, tmp_path / "run")
    assert 0 <= float(read_metrics(run.metrics)[-1]["val_dice"]) <= 1
    assert run.task().spacing == (1.5, 1.5, 1.5)


# ----------------------------------------------------------------------------------------------------- the run folder


def test_an_existing_run_is_not_overwritten(dataset, tmp_path):
    run = train(small_experiment(), dataset, SPLIT, tmp_path / "run")
    before = run.weights().read_bytes()
    with pytest.raises(RunError, match="already holds a run: continue it with --resume auto"):
        train(small_experiment(), dataset, SPLIT, tmp_path / "run")
    assert run.weights().read_bytes() == before


def test_a_folder_of_something_else_is_left_alone(dataset, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(RunError, match="not empty and not a run folder"):
            train(small_experiment(), dataset, SPLIT, tmp_path, resume=resume)
    with pytest.raises(RunError, match="is a file"):
        train(small_experiment(), dataset, SPLIT, tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_resuming_with_other_settings_names_them(dataset, tmp_path):
    train(small_experiment(), dataset, SPLIT, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"train\.lr \(0\.02 then, 0\.5 now\)") as error:
        train(small_experiment(train={"lr": 0.5}), dataset, SPLIT, tmp_path / "run", resume=True)
    assert "train.seed" not in str(error.value)
    with pytest.raises(ConfigError, match="ce_weight"):
        train(small_experiment(method={"ce_weight": 2.0}), dataset, SPLIT, tmp_path / "run", resume=True)
    with pytest.raises(ConfigError, match="the split"):
        train(small_experiment(), dataset, VALIDATED, tmp_path / "run", resume=True)


def test_a_hostile_checkpoint_is_refused_and_not_run(dataset, tmp_path):
    run = train(small_experiment(), dataset, SPLIT, tmp_path / "run")

    class Hostile:
        def __reduce__(self):
            return sys.modules["os"].mkdir, (str(tmp_path / "executed"),)

    torch.save({"state": Hostile(), "method": {}, "optimisers": {}}, run.state)
    with pytest.raises(RunError, match="cannot be read as a checkpoint"):
        train(small_experiment(), dataset, SPLIT, tmp_path / "run", resume=True)
    assert not (tmp_path / "executed").exists()


def test_the_folder_says_everything_and_moves(dataset, tmp_path):
    experiment = small_experiment()
    train(experiment, dataset, SPLIT, tmp_path / "run")
    run = RunFolder.open((tmp_path / "run").rename(tmp_path / "moved"))
    written = run.experiment()
    assert written.model_copy(update={"method": experiment.method}) == experiment
    assert written.method.settings() == method_config(experiment.method).model_dump(mode="json")  # defaults spelled out
    assert run.split() == SPLIT
    assert run.task().patch_size == (32, 32)
    assert run.task().class_names == ("background", "class 1")
    assert run.dataset()["channel_names"] == ["channel 0"]
    columns = list(read_metrics(run.metrics)[0])
    assert columns[:4] == ["iteration", "phase", "lr", "loss"]
    assert {"ce", "dice_loss", "seconds"} <= set(columns)
    assert "val_dice" not in columns
    assert run.weights("auto") == run.weights("last")
    with pytest.raises(RunError, match="the split has no validation cases"):
        run.weights("best")
    with pytest.raises(ConfigError, match="no weights called 'lats': did you mean 'last'"):
        run.weights("lats")


def test_folders_that_are_no_run_are_named(dataset, tmp_path):
    with pytest.raises(RunError, match=r"not a run folder \(no config\.yaml in it\)"):
        RunFolder.open(tmp_path)
    train(small_experiment(train={"iterations": 1}), dataset, SPLIT, tmp_path / "run")
    (tmp_path / "run" / "task.json").write_text("{")
    with pytest.raises(RunError, match=r"task\.json cannot be read"):
        RunFolder.open(tmp_path / "run").task()


# --------------------------------------------------------------------------------------------------------- validation


def test_the_best_weights_are_those_of_the_best_validation(dataset, tmp_path):
    kept = {}

    class Keeps(Recorder):
        def step(self, done, values):
            super().step(done, values)
            predictor = trainer.method.predictor()
            kept[done] = {key: value.clone() for key, value in predictor.state_dict().items()}

    # A rate this large makes the validation go up and down, so that the best is not simply the last.
    experiment = small_experiment(train={"validate_every": 1, "iterations": 16, "lr": 0.3})
    trainer = Trainer(assemble(experiment, dataset, VALIDATED), RunFolder(tmp_path / "run"), heard := Keeps())
    trainer.fit()
    scores = {done: values["val_dice"] for done, values in heard.steps}
    best = max(scores, key=lambda done: (scores[done], -done))
    assert len(set(scores.values())) > 3
    assert best != 16
    saved = load_file(trainer.run.weights("best"))
    torch.testing.assert_close(saved, kept[best], rtol=0, atol=0)
    torch.testing.assert_close(load_file(trainer.run.weights("last")), kept[16], rtol=0, atol=0)
    assert trainer.state.best == scores[best]
    assert trainer.run.weights("auto") == trainer.run.weights("best")


def test_validation_changes_nothing_of_the_training(dataset, tmp_path):
    """Not even the random numbers or the mode of the networks (the published dropout is on here)."""
    often, never = (
        small_experiment(train={"validate_every": every}, network={"dropout": 0.5, "norm": "batch"})
        for every in (1, 100)
    )
    first = train(often, dataset, VALIDATED, tmp_path / "often")
    second = train(never, dataset, VALIDATED, tmp_path / "never")
    assert torch.equal(
        *(torch.cat([v.flatten().double() for v in load_file(run.weights("last")).values()]) for run in (first, second))
    )
    assert [bool(row["val_dice"]) for row in read_metrics(second.metrics)] == [False] * 5 + [True]


def test_validation_dice_is_the_mean_over_cases(dataset, tmp_path):
    """Against labels predicted and scored by hand, from the public predictor on the raw scans."""
    from fewmask.inference.predictor import Predictor

    run = train(small_experiment(train={"iterations": 12, "lr": 0.1}), dataset, VALIDATED, tmp_path / "run")
    predictor = Predictor.from_run(run.path, "last", "cpu")
    scores = []
    for case in VALIDATED.validation:
        mine, label = predictor.predict(dataset.read(case)).labels > 0, dataset.read_label(case).data > 0
        scores.append(2 * (mine & label).sum() / (mine.sum() + label.sum()))
    last = read_metrics(run.metrics)[-1]
    assert float(last["val_dice"]) == pytest.approx(sum(scores) / len(scores), abs=1e-5)
