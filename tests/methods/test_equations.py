"""The losses of single methods against their equations, in float64 and from their own networks' outputs."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from fewmask.components.label_errors import confident_errors
from fewmask.config import MethodSection
from fewmask.errors import ConfigError, FewmaskWarning
from fewmask.methods import Progress, build_method
from fewmask.networks import NetworkOutput
from toys import small_batch, small_network, small_task

TOTAL = 6000
LATE = Progress(5999, TOTAL)


def build(name, dims=2, classes=3, network=None, **settings):
    torch.manual_seed(0)
    section = MethodSection(name=name, **settings)
    return build_method(small_task(dims, classes), section, small_network(**(network or {}))).train()


def softmax(logits):
    powers = np.exp(logits.detach().numpy().astype(np.float64))
    return powers / powers.sum(1, keepdims=True)


def supervised(logits, labels, ce_weight=0.5, dice_weight=0.5):
    p, y = softmax(logits), np.eye(3)[labels.numpy()].transpose(0, 3, 1, 2)
    ce = -np.log((p * y).sum(1)).mean()
    over = (0, 2, 3)
    dice = 1 - (2 * (p * y).sum(over) + 1e-5) / ((p**2).sum(over) + (y**2).sum(over) + 1e-5)
    return ce_weight * ce + dice_weight * dice.mean()


def test_supervised():
    method = build("supervised", ce_weight=0.25, dice_weight=2.0)
    batch = small_batch(method.task, unlabelled=0)
    step = method(batch, LATE)
    wanted = supervised(method.network(batch.labelled), batch.labels, 0.25, 2.0)
    assert step.loss.item() == pytest.approx(wanted, rel=1e-5)


def test_mean_teacher():
    method = build("mean-teacher", noise=0.0)
    batch = small_batch(method.task)
    with torch.no_grad():
        for parameter in method.teacher.network.parameters():
            parameter.mul_(1.1)
    student, teacher = method.student(batch.images), method.teacher(batch.unlabelled)
    consistency = ((softmax(student[2:]) - softmax(teacher)) ** 2).mean()
    for iteration in (0, 3000, 5999):
        weight = 0.1 * math.exp(-5 * (1 - (iteration // 150) / 40) ** 2)
        wanted = supervised(student[:2], batch.labels) + weight * consistency
        step = method(batch, Progress(iteration, TOTAL))
        assert step.loss.item() == pytest.approx(wanted, rel=1e-5)
        assert step.logs["consistency_weight"] == pytest.approx(weight)
    assert consistency > 1e-4


def test_ua_mt_counts_only_where_the_teacher_is_sure():
    """Without noise and dropout all passes agree, so the mask is that of the teacher's own entropy."""
    method = build("ua-mt", noise=0.0, passes=3)
    batch = small_batch(method.task)
    with torch.no_grad():
        for parameter in method.teacher.network.parameters():
            parameter.mul_(1.6)
    student, teacher = method.student(batch.images), softmax(method.teacher(batch.unlabelled))
    uncertainty = -(teacher * np.log(teacher + 1e-6)).sum(1)
    progress = Progress(1500, TOTAL)
    threshold = (0.75 + 0.25 * math.exp(-5 * (1 - 1500 / TOTAL) ** 2)) * math.log(3)
    assert method.threshold(progress) == pytest.approx(threshold)
    mask = uncertainty < threshold
    assert 0.02 < mask.mean() < 0.98, "the threshold must divide the voxels for this test to mean something"
    squares = ((softmax(student[2:]) - teacher) ** 2).sum(1)
    consistency = (squares * mask).sum() / (3 * mask.sum())
    step = method(batch, progress)
    assert step.logs["consistency"].item() == pytest.approx(consistency, rel=1e-4)
    assert step.logs["certain"].item() == pytest.approx(mask.mean(), abs=1e-6)
    weight = 0.1 * math.exp(-5 * (1 - 10 / 40) ** 2)
    assert step.loss.item() == pytest.approx(supervised(student[:2], batch.labels) + weight * consistency, rel=1e-5)


def test_the_threshold_of_ua_mt_ends_at_the_largest_entropy():
    method = build("ua-mt")
    assert method.threshold(Progress(0, TOTAL)) == pytest.approx((0.75 + 0.25 * math.exp(-5)) * math.log(3))
    assert method.threshold(Progress(TOTAL, TOTAL)) == pytest.approx(math.log(3))


def ambiguous_mean_teacher(**settings):
    """Weights that differ from the teacher's, so that there is something to agree on and doubt is spread."""
    method = build("ac-mt", noise=0.0, **settings)
    batch = small_batch(method.task)
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.mul_(1.6)
    student, teacher = method.student(batch.images), softmax(method.teacher(batch.unlabelled))
    return method, batch, student, ((softmax(student[2:]) - teacher) ** 2).sum(1)


@pytest.mark.parametrize(("selector", "change"), [("entropy", 0.2), ("dropout", 0.15)])
def test_ac_mt_counts_only_where_the_student_is_in_doubt(selector, change):
    """Without noise and dropout all passes agree, so both masks are those of the student's own entropy."""
    method, batch, student, squares = ambiguous_mean_teacher(selector=selector, passes=3)
    progress, p = Progress(1500, TOTAL), softmax(student[2:])
    threshold = (0.75 + change * math.exp(-5 * (1 - 1500 / TOTAL) ** 2)) * math.log(3)
    assert method.threshold(progress) == pytest.approx(threshold)
    mask = -(p * np.log(p + 1e-6)).sum(1) >= threshold
    assert 0.02 < mask.mean() < 0.98, "the threshold must divide the voxels for this test to mean something"
    consistency = (squares * mask).sum() / (3 * mask.sum())
    step = method(batch, progress)
    assert step.logs["consistency"].item() == pytest.approx(consistency, rel=1e-4)
    assert step.logs["ambiguous"].item() == pytest.approx(mask.mean(), abs=1e-6)
    weight = 0.1 * math.exp(-5 * (1 - 10 / 40) ** 2)
    assert step.loss.item() == pytest.approx(supervised(student[:2], batch.labels) + weight * consistency, rel=1e-5)


@pytest.mark.parametrize(("passes", "noise"), [(5, 0.1), (2, 0.3)])
def test_the_passes_of_ac_mt(passes, noise):
    """The student's entropy is that of its mean over so many passes, each on images with noise of their own."""
    method = build("ac-mt", selector="dropout", passes=passes, noise=noise, change=0, network={"dropout": 0.5})
    batch, inputs, outputs = small_batch(method.task), [], []

    def listen(student, given, found):
        inputs.append(given[0] - batch.unlabelled.repeat(len(given[0]) // 2, 1, 1, 1))
        outputs.append(found)

    method.student.register_forward_hook(listen)
    wrong = torch.full((2, 3, 32, 32), torch.nan)  # the student's logits on clean images do not count
    torch.manual_seed(5)
    method.ambiguous(wrong, batch.unlabelled, LATE)
    added = torch.cat(inputs)
    assert len(added) == 2 * passes and len(added.flatten(1).unique(dim=0)) == 2 * passes
    assert added.abs().max().item() == pytest.approx(2 * noise, rel=1e-4), "clipped at twice the deviation"
    assert added.std().item() == pytest.approx(0.96 * noise, rel=0.05)
    p = softmax(torch.cat(outputs)).reshape(passes, 2, 3, 32, 32).mean(0)
    doubt = -(p * np.log(p + 1e-6)).sum(1) / math.log(3)
    threshold = np.median(doubt) + 1e-4
    method.config = method.config.model_copy(update={"threshold": threshold})
    torch.manual_seed(5)
    assert (method.ambiguous(wrong, batch.unlabelled, LATE).numpy() != (doubt >= threshold)).mean() < 0.001


def test_the_passes_of_ac_mt_leave_running_statistics_alone():
    method = build("ac-mt", selector="dropout", passes=4, network={"norm": "batch"})
    method(small_batch(method.task), LATE)
    counted = {int(value) for name, value in method.student.named_buffers() if name.endswith("num_batches_tracked")}
    assert counted == {1}, "the pass that trains, and none of the four"


def test_the_release_of_ac_mt_divides_by_one_channel_of_one_selector():
    losses = []
    for released in (False, True):
        method, batch, _, _ = ambiguous_mean_teacher(selector="dropout", as_released=released)
        losses.append(method(batch, Progress(1500, TOTAL)).logs["consistency"].item())
    assert losses[1] == pytest.approx(3 * losses[0], rel=1e-5) and losses[0] > 0


def test_the_release_of_ac_mt_adds_the_entropy_of_voxels_that_prototypes_leave():
    method, batch, student, _ = ambiguous_mean_teacher(selector="prototypes", teacher_passes=2)
    sure = ~method.ambiguous(student[2:], batch.unlabelled, LATE).numpy()
    p = softmax(student[2:])
    doubt = (-(p * np.log(p + 1e-6)).sum(1) * sure).mean() / math.log(3)
    apart = method(batch, LATE).logs["consistency"].item()
    method.config = method.config.model_copy(update={"as_released": True})
    assert 0.02 < sure.mean() < 0.98 and doubt > 0.1
    assert method(batch, LATE).logs["consistency"].item() == pytest.approx(apart + doubt, rel=1e-4)


@pytest.mark.parametrize("selector", ["entropy", "errors"])
def test_the_release_of_ac_mt_is_told_of_two_selectors_alone(selector):
    with pytest.raises(ConfigError, match=f"about the selectors dropout and prototypes, not {selector}"):
        build("ac-mt", selector=selector, as_released=True)


def test_the_earlier_threshold_of_ac_mt():
    method = build("ac-mt", change=-0.15)
    assert method.threshold(Progress(TOTAL, TOTAL)) == pytest.approx(0.60 * math.log(3))


def test_ac_mt_by_prototypes():
    """Without dropout the teacher is steady everywhere: prototypes of its own labels, and the student's label against the nearest."""
    method, batch, student, squares = ambiguous_mean_teacher(selector="prototypes", teacher_passes=2)
    output = method.teacher.network.forward_all(batch.unlabelled)
    p, features = softmax(output.logits[0]), output.taps["last"].numpy().astype(np.float64)
    nearest = []
    for maps, image in zip(features.reshape(2, 4, -1), p.reshape(2, 3, -1), strict=True):
        weights = image * (image.argmax(0) == np.arange(3)[:, None])
        present = [c for c in range(3) if weights[c].any()]
        prototypes = np.stack([(weights[c] * maps).sum(1) / weights[c].sum() for c in present])
        nearest.append(np.array(present)[((maps.T[:, None] - prototypes) ** 2).sum(2).argmin(1)].reshape(32, 32))
        assert len(present) > 1
    mask = softmax(student[2:]).argmax(1) != np.stack(nearest)
    assert 0.02 < mask.mean() < 0.98
    wanted = (squares * mask).sum() / (3 * mask.sum())
    assert method(batch, LATE).logs["consistency"].item() == pytest.approx(wanted, rel=1e-4)


class Passes(torch.nn.Module):
    """A network whose passes are known."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = iter(outputs)

    def forward_all(self, image):
        logits, features = next(self.outputs)
        return NetworkOutput([logits], {}, {"last": features})


def test_ac_mt_believes_a_teacher_that_is_steady():
    """Of three passes the left half hardly moves and the right half does; where no class is steady, a voxel counts as background."""
    method = build("ac-mt", selector="prototypes", teacher_passes=3)
    torch.manual_seed(1)
    spread = torch.cat([torch.full((6, 5), 0.05), torch.full((6, 5), 1.5)], dim=1)
    logits = 2 * torch.randn(2, 3, 6, 10) + spread * torch.randn(3, 2, 3, 6, 10)
    features = torch.randn(3, 2, 4, 6, 10)
    method.teacher.network = Passes(zip(logits, features, strict=True))
    found = method._by_prototypes(torch.zeros(2, 1, 6, 10)).numpy()
    z = logits.numpy().astype(np.float64)
    steady = (1 / (1 + np.exp(-z / 2))).std(0, ddof=1) < 0.1
    assert steady[..., :5].all() and 0.1 < steady[..., 5:].mean() < 0.9
    p, f = np.mean([softmax(one) for one in logits], axis=0), features.numpy().astype(np.float64).mean(0)
    answers = []
    for believed in ((steady * p).argmax(1), p.argmax(1)):
        distances = []
        for c in range(3):
            weights = (p[:, c] * (believed == c))[:, None]
            prototype = (weights * f).sum((2, 3)) / weights.sum((2, 3))
            distances.append(((f - prototype[..., None, None]) ** 2).sum(1))
        answers.append(np.argmin(distances, axis=0))
    assert np.array_equal(found, answers[0]) and (answers[0] != answers[1]).mean() > 0.02


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("selector", "released"),
    [("dropout", False), ("dropout", True), ("prototypes", False), ("prototypes", True), ("errors", False)],
)
def test_every_selector_of_ac_mt_teaches_in_plane_and_space(selector, released, dims, classes):
    settings = {"threshold": 0.3, "change": 0, "passes": 2, "teacher_passes": 2, "ce_weight": 0, "dice_weight": 0}
    method = build("ac-mt", dims, classes, selector=selector, as_released=released, **settings)
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    step = method(small_batch(method.task), LATE)
    step.loss.backward()
    assert step.loss.isfinite() and 0 < step.logs["ambiguous"] <= 1
    gradients = [parameter.grad for parameter in method.student.parameters()]
    assert all(one is not None and one.isfinite().all() for one in gradients) and any(one.any() for one in gradients)


def test_ac_mt_by_label_errors_falls_back_to_all_voxels():
    method, batch, student, squares = ambiguous_mean_teacher(selector="errors")
    wanted = confident_errors(student[2:].argmax(1), torch.from_numpy(softmax(method.teacher(batch.unlabelled))))
    mask = np.ones((2, 32, 32)) if wanted is None else wanted.numpy()
    step = method(batch, LATE)
    assert step.logs["consistency"].item() == pytest.approx((squares * mask).sum() / (3 * mask.sum()), rel=1e-4)
    missing = torch.zeros(2, 3, 32, 32)
    missing[:, 0] = 5
    assert method.ambiguous(missing, batch.unlabelled, LATE).all(), "two classes are in no label"


@pytest.mark.parametrize("include_labelled", [False, True])
def test_entropy_minimisation(include_labelled):
    method = build("entropy-minimisation", include_labelled=include_labelled)
    batch = small_batch(method.task)
    p = softmax(logits := method.network(batch.images))[0 if include_labelled else 2 :]
    doubt = -(p * np.log(p + 1e-6)).sum(1).mean() / math.log(3)
    assert 0.2 < doubt < 1, "a share of the largest entropy"
    step = method(batch, LATE)
    assert step.logs["entropy"].item() == pytest.approx(doubt, rel=1e-5)
    weight = 0.1 * math.exp(-5 * (1 - 39 / 40) ** 2)
    assert step.loss.item() == pytest.approx(supervised(logits[:2], batch.labels) + weight * doubt, rel=1e-5)
    assert step.logs["pseudo_foreground"].item() == pytest.approx((logits[2:].argmax(1) > 0).float().mean().item())


class Halves(torch.nn.Module):
    """Foreground in one half of the batch alone."""

    def __init__(self, labelled, unlabelled):
        super().__init__()
        self.halves = labelled, unlabelled

    def forward(self, images):
        found = torch.tensor([float(half) for half in self.halves for _ in range(2)]).reshape(4, 1, 1, 1)
        return torch.cat([torch.zeros_like(images), (4 * found - 2) * torch.ones_like(images), images - 9], dim=1)


@pytest.mark.parametrize("found", [False, True])
def test_entropy_minimisation_tells_of_a_collapse_on_unlabelled_patches(found):
    """What it finds on the labelled ones does not count, in either way."""
    method = build("entropy-minimisation")
    method.network = Halves(labelled=not found, unlabelled=found)
    batch = small_batch(method.task)
    with nullcontext() if found else pytest.warns(FewmaskWarning, match="almost no foreground on unlabelled patches"):
        for iteration in range(100):
            step = method(batch, Progress(iteration, 100))
            method.after_step(Progress(iteration, 100))
    assert (step.logs["pseudo_foreground"], step.logs["starved"]) == ((1, 0) if found else (0, 100))


@pytest.mark.parametrize("include_labelled", [False, True])
def test_cps(include_labelled):
    method = build("cps", include_labelled=include_labelled)
    batch = small_batch(method.task)
    first, second = method.first(batch.images), method.second(batch.images)
    start = 0 if include_labelled else 2
    wanted = supervised(first[:2], batch.labels) + supervised(second[:2], batch.labels)
    for mine, other in [(first[start:], second[start:]), (second[start:], first[start:])]:
        chosen = np.take_along_axis(softmax(mine), other.argmax(1, keepdim=True).numpy(), 1)
        wanted += 0.1 * math.exp(-5 * (1 - 39 / 40) ** 2) * -np.log(chosen).mean()
    assert method(batch, LATE).loss.item() == pytest.approx(wanted, rel=1e-5)


def test_the_networks_of_cps_start_apart():
    for way in ("kaiming-xavier", "network"):
        method = build("cps", initialisation=way)
        pairs = zip(method.first.parameters(), method.second.parameters(), strict=True)
        assert any(p.ndim > 1 and not torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize(
    ("name", "choice", "parts"),
    [
        ("mean-teacher", "student", ["student"]),
        ("mean-teacher", "teacher", ["teacher.network"]),
        ("cps", "first", ["first"]),
        ("cps", "second", ["second"]),
        ("cps", "mean", ["first", "second"]),
    ],
)
def test_who_predicts(name, choice, parts):
    method = build(name, predict_with=choice)
    with torch.no_grad():
        for number, parameter in enumerate(method.parameters()):
            parameter.mul_(1 + 0.01 * number)
    image = small_batch(method.task).labelled
    wanted = np.mean([softmax(method.get_submodule(part)(image)) for part in parts], axis=0)
    np.testing.assert_allclose(method.predictor()(image).detach().numpy(), wanted, atol=1e-6)


def test_the_teacher_moves_once_a_step():
    method = build("mean-teacher")
    before = copy.deepcopy(method.teacher)
    method.after_step(LATE)
    before.update(method.student)
    torch.testing.assert_close(dict(method.teacher.state_dict()), dict(before.state_dict()), rtol=0, atol=0)
