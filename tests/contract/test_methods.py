"""What every registered method must do; a newly registered one is covered at once, with no test written for it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fewmask.components.ema import Teacher
from fewmask.components.ramps import RampConfig
from fewmask.config import MethodSection
from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.checkpoint import load_state
from fewmask.engine.interrupt import InterruptedRunError
from fewmask.engine.train import train
from fewmask.errors import DataError
from fewmask.inference.export import export_program
from fewmask.inference.predictor import Predictor
from fewmask.methods import METHODS, Method, MethodConfig, Phase, Progress, build_method
from helpers import write_dataset
from toys import CHEAP, Recorder, small_batch, small_experiment, small_network, small_task

STEPS = 30
NAMES = list(METHODS)
PLACES = [(name, dims) for name in NAMES for dims in METHODS[name].spatial_dims]
each_method = pytest.mark.parametrize("name", NAMES)
each_place = pytest.mark.parametrize(("name", "dims"), PLACES, ids=[f"{name}-{dims}d" for name, dims in PLACES])
with_unlabelled = pytest.mark.parametrize(
    ("name", "dims"),
    [place for place in PLACES if METHODS[place[0]].uses_unlabelled],
    ids=[f"{name}-{dims}d" for name, dims in PLACES if METHODS[name].uses_unlabelled],
)


def ramps_of(config: type[MethodConfig]) -> list[str]:
    """The names of a method's ramped loss weights: where its unlabelled data enters."""
    return [name for name, field in config.model_fields.items() if field.annotation is RampConfig]


def build(name, dims=2, classes=2, settings=None, **network) -> Method:
    """A method on a small network, and weights that depend on nothing but the arguments."""
    torch.manual_seed(0)
    section = MethodSection(name=name, **(CHEAP.get(name, {}) | (settings or {})))
    return build_method(small_task(dims, classes, method=name), section, small_network(**network)).train()


def batch_for(method, seed=0, phase=None, unlabelled=2):
    phase = phase or method.phases()[-1]
    wanted = unlabelled if method.uses_unlabelled and phase.unlabelled else 0
    return small_batch(method.task, seed, 2 if phase.labelled else 0, wanted, method.strong_views)


def steps(method, phase: Phase, batch, count, start=0, total=STEPS, lr=0.02, ramped=True, enough=None):
    """Train as the engine does, on one batch, with plain SGD; gives the loss of each step's first turn.

    Without ramps every step is the last one for the weights of the losses. It ends early where the losses are enough.
    """
    turns = method.turns(phase.name)
    optimisers = [torch.optim.SGD(turn.parameters, lr=lr, momentum=0.9) for turn in turns]
    losses = []
    for iteration in range(start, start + count):
        torch.manual_seed(iteration)
        now = iteration if ramped else total - 1
        for turn, optimiser in zip(turns, optimisers, strict=True):
            method.zero_grad(set_to_none=True)
            step = method(batch, Progress(now, total, phase.name, turn.name))
            step.loss.backward()
            optimiser.step()
            if turn is turns[0]:
                losses.append(step.loss.item())
                assert all(np.isfinite(float(value)) for value in step.logs.values()), step.logs
        method.after_step(Progress(now, total, phase.name))
        if enough is not None and enough(losses):
            break
    return losses


def fallen(losses):
    return len(losses) > 5 and np.mean(losses[-5:]) < 0.85 * losses[0]


def weights(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# ---------------------------------------------------------------------------------------------------------- learning


@each_place
@pytest.mark.parametrize("classes", [2, 4])
def test_the_loss_is_finite_and_falls(name, dims, classes):
    # At constant weights: a ramp makes a loss grow.
    method = build(name, dims, classes, {ramp: {"shape": "constant"} for ramp in ramps_of(METHODS[name].Config)})
    for phase in method.phases():
        losses = steps(method, phase, batch_for(method, phase=phase), STEPS, ramped=False, enough=fallen)
        assert np.isfinite(losses).all() and fallen(losses), losses


@with_unlabelled
def test_unlabelled_data_moves_the_weights_once_it_counts(name, dims):
    moved = []
    for seed in (0, 1):
        method = build(name, dims)
        batch, other = batch_for(method), batch_for(method, seed=seed)
        batch.unlabelled, batch.unlabelled_strong = other.unlabelled, other.unlabelled_strong
        steps(method, method.phases()[-1], batch, 2, start=STEPS - 2)
        moved.append(weights(method))
    assert not equal(*moved)


@each_method
def test_what_is_found_without_labels_is_logged(name):
    """A network that stops to predict foreground shows in the log."""
    if not METHODS[name].uses_unlabelled:
        pytest.skip("sees no unlabelled patches")
    method = build(name)
    phase, logs = method.phases()[-1], {}
    for turn in method.turns(phase.name):
        logs |= method(batch_for(method), Progress(STEPS - 1, STEPS, phase.name, turn.name)).logs
    shares = [float(value) for key, value in logs.items() if "foreground" in key]
    assert shares and all(0 <= share <= 1 for share in shares)


@with_unlabelled
def test_unlabelled_data_does_nothing_at_weight_zero(name, dims):
    ramps = ramps_of(METHODS[name].Config)
    assert ramps, "a method that uses unlabelled data weighs it by a RampConfig"
    moved = []
    for seed in (0, 1):
        method = build(name, dims, settings={ramp: {"weight": 0.0} for ramp in ramps})
        batch, other = batch_for(method), batch_for(method, seed=seed)
        batch.unlabelled, batch.unlabelled_strong = other.unlabelled, other.unlabelled_strong
        steps(method, method.phases()[-1], batch, 3, start=STEPS - 3)
        moved.append(weights(method))
    assert not equal(moved[0], weights(build(name, dims))), "the labelled data trains"
    assert equal(*moved)


@each_place
def test_every_trained_parameter_gets_a_gradient_and_every_other_one_stays(name, dims):
    method = build(name, dims)
    before, trained = weights(method), set()
    for phase in method.phases():
        batch = batch_for(method, phase=phase)
        for turn in method.turns(phase.name):
            method.zero_grad(set_to_none=True)
            method(batch, Progress(STEPS - 1, STEPS, phase.name, turn.name)).loss.backward()
            for parameter in turn.parameters:
                trained.add(parameter)
                assert parameter.grad is not None
                assert parameter.grad.isfinite().all()
                # A bias under a normalisation has a gradient of zero by its nature, weights have not.
                assert parameter.ndim == 1 or parameter.grad.abs().sum() > 0
    assert {p for p in method.parameters() if p.requires_grad} <= trained, "what wants a gradient has its turn"
    # Without `after_step`, because a teacher is frozen for the optimiser, not for its own rule.
    for phase in method.phases():
        turns, start = method.turns(phase.name), weights(method)
        inside = {parameter for turn in turns for parameter in turn.parameters}
        frozen = [key for key, parameter in method.named_parameters() if parameter not in inside]
        for turn in turns:
            method.zero_grad(set_to_none=True)
            method(batch_for(method, phase=phase), Progress(0, STEPS, phase.name, turn.name)).loss.backward()
            torch.optim.SGD(turn.parameters, lr=0.1).step()
        assert all(torch.equal(start[key], method.state_dict()[key]) for key in frozen), (
            "what another phase trains stays"
        )
    assert not equal(before, weights(method))


# ---------------------------------------------------------------------------------------------------------- teachers


def student_of(method, teacher):
    """The part of a method that a teacher copies: same parameters, outside every teacher, and the nearest of those."""
    inside = {part for one in method.modules() if isinstance(one, Teacher) for part in one.modules()}
    shapes = [p.shape for p in teacher.network.parameters()]
    found = [m for m in method.modules() if m not in inside and [p.shape for p in m.parameters()] == shapes]
    found = [m for m in found if type(m) is type(teacher.network)]
    assert found, "a teacher has a student"
    return min(found, key=lambda student: distance(teacher, student))


def distance(teacher, student):
    pairs = zip(teacher.network.parameters(), student.parameters(), strict=True)
    return sum(float((mine - theirs).detach().square().sum()) for mine, theirs in pairs) ** 0.5


@each_method
def test_a_teacher_follows_a_frozen_student(name):
    method = build(name)
    teachers = [module for module in method.modules() if isinstance(module, Teacher)]
    if not teachers:
        pytest.skip("has no teacher")
    progress = Progress(0, STEPS, method.phases()[-1].name)
    students = [student_of(method, teacher) for teacher in teachers]
    method.after_step(progress)
    assert [distance(*pair) for pair in zip(teachers, students, strict=True)] == [0.0] * len(teachers), (
        "the first update copies"
    )
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    lags = []
    for _ in range(400):
        method.after_step(progress)
        lags.append([distance(*pair) for pair in zip(teachers, students, strict=True)])
    assert all(late < early for early, late in zip(lags[0], lags[20], strict=True))
    assert all(end < 0.05 * start for start, end in zip(lags[0], lags[-1], strict=True))


# -------------------------------------------------------------------------------------------------------- prediction


@each_place
@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_sum_to_one(name, dims, classes):
    method = build(name, dims, classes, norm=None, dropout=None)
    image = batch_for(method).images
    predictor = method.predictor().eval()
    with torch.no_grad():
        probabilities = predictor(image)
    assert probabilities.shape == (len(image), classes, *method.task.patch_size)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones_like(probabilities[:, 0]))
    with torch.no_grad():
        assert torch.equal(predictor(image), probabilities), "prediction is not random"


@each_place
def test_the_predictor_exports(name, dims):
    method = build(name, dims)
    predictor = method.predictor().eval()
    program = export_program(predictor, (1, *method.task.patch_size)).module()
    for image in (small_batch(method.task).images, small_batch(method.task, labelled=1, unlabelled=0).images):
        with torch.no_grad():
            torch.testing.assert_close(program(image), predictor(image))


# --------------------------------------------------------------------------------------------------------- real runs


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Five 2D cases; the label files of the three that runs take for unlabelled are rubbish."""
    root = write_dataset(tmp_path_factory.mktemp("data") / "Dataset001_Blobs", cases=5, dims=2, classes=3)
    data = Dataset.open(root)
    for case in SPLIT.unlabelled:
        data.case(case).label.write_bytes(b"no label at all")
    return data


SPLIT = Split(labelled=("case_000", "case_001"), unlabelled=("case_002", "case_003", "case_004"))


def rows(run):
    with run.metrics.open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@each_method
def test_a_run_opens_no_hidden_label_resumes_to_the_bit_and_predicts(name, dataset, tmp_path):
    settings = {"network": {"norm": None, "dropout": None}}  # the published ones, whose state must be saved too
    experiment = small_experiment(name, **settings)
    whole = train(experiment, dataset, SPLIT, tmp_path / "whole", listener=(heard := Recorder()))
    half = heard.begun[1] // 2
    with pytest.raises(InterruptedRunError):
        train(experiment, dataset, SPLIT, tmp_path / "cut", listener=Recorder(stop_after=half))
    cut = train(experiment, dataset, SPLIT, tmp_path / "cut", resume=True)

    assert whole.weights("last").read_bytes() == cut.weights("last").read_bytes()
    assert rows(whole) == rows(cut)
    assert len(rows(whole)) == heard.begun[1]
    states = [load_state(run.state) for run in (whole, cut)]
    for part in ("method", "optimisers"):
        torch.testing.assert_close(states[0][part], states[1][part], rtol=0, atol=0)

    # The folder alone gives back the predictor that the trained method has.
    method = build_method(whole.task(), whole.experiment().method, whole.experiment().network)
    method.load_state_dict(states[0]["method"])
    loaded = Predictor.from_run(whole.path, device="cpu")
    assert equal(loaded.module.state_dict(), method.predictor().state_dict())
    assert equal(load_file(whole.weights()), method.predictor().state_dict())
    prediction = loaded.predict(dataset.read("case_002"))
    assert prediction.labels.shape == dataset.read("case_002").geometry.shape
    np.testing.assert_allclose(prediction.probabilities.sum(0), 1, atol=1e-5)


def test_a_label_that_is_rubbish_is_noticed_where_it_is_opened(dataset, tmp_path):
    """The control of the test above: the same files stop a run that takes one of them for labelled."""
    with pytest.raises(DataError, match="case_002"):
        train(small_experiment(), dataset, Split(labelled=("case_002",)), tmp_path / "run")
