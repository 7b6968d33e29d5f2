"""Who learns what from which half, what is detached, how often each network is asked, and what the phases leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from fewmask.components.losses import dice_loss, one_hot
from fewmask.config import MethodSection
from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.interrupt import InterruptedRunError
from fewmask.engine.job import assemble
from fewmask.engine.kept import start_from
from fewmask.engine.train import train
from fewmask.errors import ConfigError, RunError
from fewmask.inference.predictor import Predictor
from fewmask.methods import Progress, build_method, method_config
from helpers import write_dataset
from toys import Recorder, small_batch, small_experiment, small_network, small_task

NAME = "diffusion-co-training"
OFF = {"weight": 0.0}
SILENT = {"semi": OFF, "align": OFF, "reconstruction": OFF, "match_channels": False}
CO_TRAIN = Progress(99, 100, "co-train")
PRETRAIN = Progress(0, 100, "pretrain")


def build(dims=2, classes=2, channels=1, **settings):
    torch.manual_seed(0)
    section = MethodSection(name=NAME, **settings)
    return build_method(small_task(dims, classes, channels), section, small_network()).train()


def moved(*networks):
    """Of each network, whether all of its weights have a gradient; None where some have."""
    states = []
    for network in networks:
        # A bias under a normalisation has a gradient of zero by its nature, weights have not.
        grads = [p.grad is not None and bool(p.grad.any()) for p in network.parameters() if p.ndim > 1]
        states.append(all(grads) if all(grads) == any(grads) else None)
    return states


def parts(method):
    return method.teacher.mask, method.teacher.image, method.student


# ----------------------------------------------------------------------------------------------------- gradient flow


def test_pretraining_teaches_both_pathways_through_the_mask():
    method = build(classes=3, channels=3)
    method(small_batch(method.task, labelled=0), PRETRAIN).loss.backward()
    assert moved(*parts(method)) == [True, True, False]


def test_a_hard_mask_would_teach_the_mask_pathway_nothing():
    """The control of the test above, and why plain argmax is no setting."""
    method, batch = build(), small_batch(small_task(), labelled=0)
    hard = 9.0 * one_hot(method.diffusion.mask(method.teacher.mask, batch.unlabelled).argmax(1), 2)
    method.diffusion.reconstruct(method.teacher, batch.unlabelled, hard)[0].backward()
    assert moved(*parts(method)) == [False, True, False]
    with pytest.raises(ConfigError, match="mask_to_image"):
        method_config(MethodSection(name=NAME, mask_to_image="argmax"))


@pytest.mark.parametrize("encoding", ["softmax", "raw", "argmax_st"])
def test_every_encoding_teaches_the_mask_pathway(encoding):
    method = build(mask_to_image=encoding)
    method(small_batch(method.task, labelled=0), PRETRAIN).loss.backward()
    assert moved(*parts(method)) == [True, True, False]


ONE = {"weight": 1.0, "shape": "constant"}
TABLE = [
    ({"semi": ONE}, [True, False, True]),
    ({"align": ONE}, [True, False, False]),
    ({"reconstruction": ONE}, [False, True, False]),
    ({"align": ONE, "rounds": {"detach": False}}, [True, True, False]),
    ({"reconstruction": ONE, "rounds": {"detach": False}}, [True, True, False]),
]


@pytest.mark.parametrize(("settings", "learns"), TABLE)
def test_who_learns_by_a_term(settings, learns):
    rounds = {"count": 2} | settings.get("rounds", {})
    method = build(**(SILENT | settings | {"rounds": rounds}))
    method._half(small_batch(method.task).unlabelled, None, {name: 1.0 for name in settings if name != "rounds"})[
        0
    ].backward()
    assert moved(*parts(method)) == learns


def test_the_supervised_term_teaches_both_networks_alone():
    method = build(**SILENT)
    method(small_batch(method.task), CO_TRAIN).loss.backward()
    assert moved(*parts(method)) == [True, False, True]


@pytest.mark.parametrize("taught", ["teacher", "student"])
def test_a_pseudo_label_carries_no_gradient_to_its_author(taught):
    method = build()
    image = small_batch(method.task).unlabelled
    found = dict(zip(("teacher", "student"), method._first_masks(image, labelled=False), strict=True))
    author = found["student" if taught == "teacher" else "teacher"]
    method.mask_loss(found[taught], author.argmax(1)).backward()
    assert moved(*parts(method)) == [taught == "teacher", False, taught == "student"]


def test_unlabelled_images_teach_all_networks():
    grads = []
    for seed in (0, 1):
        method, batch = build(rounds={"count": 1}), small_batch(small_task())
        batch.unlabelled = small_batch(small_task(), seed=seed).unlabelled
        torch.manual_seed(3)
        method(batch, CO_TRAIN).loss.backward()
        grads.append([[p.grad.clone() for p in part.parameters() if p.ndim > 1] for part in parts(method)])
    for first, second in zip(*grads, strict=True):
        assert not any(torch.equal(one, two) for one, two in zip(first, second, strict=True))


# ------------------------------------------------------------------------------------------------------- how rounds go


@pytest.mark.parametrize("count", [0, 1, 5])
def test_how_often_each_network_is_asked(count):
    method, calls = build(rounds={"count": count}), {}
    networks = dict(
        zip(("mask", "image", "student"), (method.teacher.mask, method.teacher.image, method.student), strict=True)
    )
    for name, network in networks.items():
        calls[name] = 0
        network.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    step = method(small_batch(method.task), CO_TRAIN)
    assert calls == {"mask": 2 * (1 + count), "image": 2 * count, "student": 2}
    assert ("align" in step.logs) == (count > 0)
    step.loss.backward()
    trained = {id(p) for p in method.turns("co-train")[0].parameters}
    assert {id(p) for p in method.teacher.image.parameters()} <= trained or count == 0
    assert all(p.grad is not None for p in method.turns("co-train")[0].parameters)


@pytest.mark.parametrize(("chained", "same"), [(True, False), (False, True)])
def test_which_mask_enters_a_round(chained, same):
    method, seen, found = build(rounds={"count": 3, "chained": chained}), [], []
    reconstruct, mask = method.diffusion.reconstruct, method.diffusion.mask
    method.diffusion.mask = lambda *given: (found.append(mask(*given)), found[-1])[1]
    method.diffusion.reconstruct = lambda model, image, mask: (seen.append(mask), reconstruct(model, image, mask))[1]
    image, first = small_batch(method.task).unlabelled, torch.randn(2, 2, 32, 32)
    method._rounds(image, first, torch.zeros(2, 32, 32, dtype=torch.int64))
    assert torch.equal(seen[0], first)
    assert [torch.equal(mask, first) for mask in seen[1:]] == [same, same]
    assert [torch.equal(*pair) for pair in zip(seen[1:], found[:2], strict=True)] == [chained, chained]
    assert not any(mask.requires_grad for mask in seen)


def test_every_round_has_its_own_noise_and_steps():
    method, seen = build(rounds={"count": 3}), []
    method.teacher.image.register_forward_hook(lambda _, inputs, __: seen.append(inputs))
    image = small_batch(method.task).unlabelled
    method._rounds(image, torch.zeros(2, 2, 32, 32), torch.zeros(2, 32, 32, dtype=torch.int64))
    assert len({tuple(t.tolist()) for _, t in seen}) == 3
    assert all((t[0] != t[1]).item() for _, t in seen)


@pytest.mark.parametrize("detach", [True, False])
def test_recomputed_rounds_give_the_same_gradients(detach):
    grads = []
    for recompute in (False, True):
        method = build(classes=3, rounds={"count": 2, "recompute": recompute, "detach": detach})
        torch.manual_seed(7)
        method(small_batch(method.task), CO_TRAIN).loss.backward()
        grads.append([p.grad for p in method.turns("co-train")[0].parameters])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*grads, strict=True))


def test_the_number_of_rounds_does_not_weigh():
    """With networks that always say the same, the losses are means over rounds."""
    totals = []
    for count in (1, 4):
        method = build(rounds={"count": count}, reconstruction=OFF)
        for network in (method.teacher.mask.network, method.student.network):
            network.decoders[0].outputs[0].weight.data.zero_()
        totals.append(method(small_batch(method.task), CO_TRAIN).loss.item())
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)


def test_a_label_that_the_student_has_guessed_adds_the_supervised_loss_and_nothing_else():
    method = build(classes=3, rounds={"count": 2}, reconstruction=OFF)
    for network in (method.teacher.mask.network, method.student.network):
        network.decoders[0].outputs[0].weight.data.zero_()  # always the same logits
    image, weights = small_batch(method.task).unlabelled, {"semi": 2.0, "align": 3.0}
    free = method._half(image, None, weights)
    known = method._half(image, free.student, weights)
    teacher, student = method._first_masks(image, labelled=True)
    extra = method.mask_loss(teacher, free.student) + method.mask_loss(student, free.student)
    assert extra.item() > 0.1
    assert known.loss.item() == pytest.approx(free.loss.item() + extra.item(), rel=1e-6)


# ------------------------------------------------------------------------------------------------------- the whole loss


def test_the_whole_loss_by_hand():
    method = build(classes=3, rounds={"count": 2})
    batch = small_batch(method.task)

    def ce(logits, labels):
        dice = dice_loss(logits.softmax(1), one_hot(labels, 3), smooth=1.0, per_sample=True)
        return F.cross_entropy(logits, labels) + dice

    torch.manual_seed(5)
    step = method(batch, Progress(39, 100, "co-train"))
    torch.manual_seed(5)
    total, weight = 0.0, 2.0  # 5 * 40 / 100
    for image, labels in ((batch.labelled, batch.labels), (batch.unlabelled, None)):
        teacher, student = method._first_masks(image, labelled=labels is not None)
        mine, theirs = teacher.argmax(1), student.argmax(1)
        if labels is not None:
            total = total + ce(teacher, labels) + ce(student, labels)
        total = total + weight * (ce(student, mine) + ce(teacher, theirs))
        mask = teacher
        for _ in range(2):
            mask, loss = method.diffusion.round(method.teacher, image, mask, method.config.rounds)
            total = total + weight / 2 * (ce(mask, theirs if labels is None else labels) + loss)
    assert step.loss.item() == pytest.approx(total.item(), rel=1e-5)
    assert step.logs["align_weight"] == 2.0


def test_labelled_images_may_go_without_pseudo_labels():
    batch = small_batch(small_task())
    logs = [build(semi_on_labelled=on)(batch, CO_TRAIN).logs for on in (True, False)]
    assert ["semi" in one for one in logs] == [True, False]
    assert all("semi_unlabelled" in one for one in logs)


def test_without_weight_the_student_owes_the_teacher_nothing():
    """At lambda 0 the student's weights do not depend on the teacher's."""
    students = []
    for noise in (0.0, 0.1):
        method = build(**SILENT)
        with torch.no_grad():
            for parameter in method.teacher.parameters():
                parameter.add_(noise * torch.randn_like(parameter))
        optimiser = torch.optim.SGD(method.turns("co-train")[0].parameters, lr=0.1)
        for iteration in range(4):
            torch.manual_seed(iteration)
            optimiser.zero_grad()
            method(small_batch(method.task), Progress(iteration, 4, "co-train")).loss.backward()
            optimiser.step()
        students.append(method.student.state_dict())
    assert all(torch.equal(students[0][key], students[1][key]) for key in students[0])


PAPER = {
    "dice_weight": 0.0,
    "start": "unit",
    "image_input": "pure",
    "reconstruction_space": "image",
    "t_max": 250,
    "rounds": {"count": 1, "track": True},
    "match_channels": False,
}


def test_the_letter_of_the_paper():
    """Eq. 5 to 7, with the sign of eq. 3 that inverts the noising: from noise alone to a mask, and with it from noise to the image."""
    method = build(**PAPER)
    image, schedule = small_batch(method.task, labelled=0).unlabelled, method.diffusion.schedule
    torch.manual_seed(5)
    step = method(small_batch(method.task, labelled=0), PRETRAIN)
    torch.manual_seed(5)
    t, noise = method.diffusion.draw(image)
    mask = method.teacher.mask(image, noise, t)
    t, noise = schedule.draw(2, high=249), torch.randn_like(image)
    share = schedule.retained[t + 1].float().reshape(2, 1, 1, 1)
    believed = method.teacher.noise(noise, 2 * mask.softmax(1) - 1, t)
    rebuilt = (1 / share).sqrt() * noise - (1 / share - 1).sqrt() * believed
    assert step.loss.item() == pytest.approx((image - rebuilt).square().mean().item(), rel=1e-5)
    step.loss.backward()
    assert moved(*parts(method)) == [True, True, False]
    both = method(small_batch(method.task), CO_TRAIN)
    assert both.loss.isfinite()
    truth = small_batch(method.task).labels
    assert method.mask_loss(mask, truth).item() == pytest.approx(F.cross_entropy(mask, truth).item())


def test_one_image_is_learned_by_heart():
    """From labels alone, out of pure noise."""
    method = build(**SILENT, predict={"t": 500})
    batch = small_batch(method.task, labelled=1)
    optimiser = torch.optim.Adam(method.student.parameters(), 0.01)
    for iteration in range(300):
        torch.manual_seed(iteration)
        optimiser.zero_grad()
        method(batch, CO_TRAIN).loss.backward()
        optimiser.step()
        if iteration % 20 == 19:
            with torch.no_grad():
                found = method.predictor()(batch.labelled).argmax(1)
            dice = 2 * (found * batch.labels).sum() / (found.sum() + batch.labels.sum())
            if dice > 0.95:
                return
    raise AssertionError(f"Dice of the labelled image is {dice:.3f}")


def test_what_the_release_trains():
    method = build(as_released=True, rounds={"count": 2})
    config, batch = method.config, small_batch(method.task)
    assert (config.start, config.mask_to_image, config.diffusion.schedule) == ("background", "raw", "sigmoid")
    assert not config.rounds.chained and config.rounds.track and config.rounds.count == 2
    assert (method.predictor().start, build().predictor().start) == ("minus_one", "zero")
    torch.manual_seed(5)
    step = method(batch, Progress(0, 100, "co-train"))
    torch.manual_seed(5)
    total = 0.0
    for image, labels, weight in ((batch.labelled, batch.labels, 1.0), (batch.unlabelled, None, 0.01)):
        teacher = method.diffusion.mask(method.teacher.mask, image)
        student = method.diffusion.mask(method.student, image, start="minus_one" if labels is not None else None)
        target = labels if labels is not None else student.argmax(1)
        pairs = [(teacher, labels), (student, labels)] if labels is not None else []
        for logits, truth in pairs:
            total = total + halved_dice(logits, truth)
        if labels is None:
            total = total + weight * (halved_dice(student, teacher.argmax(1)) + halved_dice(teacher, target))
        for _ in range(2):
            found, loss = method.diffusion.round(method.teacher, image, teacher, config.rounds)
            total = total + weight / 2 * (halved_dice(found, target) + loss)
    assert step.loss.item() == pytest.approx(total.item(), rel=1e-5)


def test_what_the_release_pre_trains():
    """From noised background, with the raw mask, under the sigmoid schedule."""
    method = build(as_released=True)
    image, schedule = small_batch(method.task, labelled=0).unlabelled, method.diffusion.schedule
    assert schedule.share(499) == pytest.approx(0.5, abs=1e-9)
    torch.manual_seed(5)
    step = method(small_batch(method.task, labelled=0), PRETRAIN)
    torch.manual_seed(5)
    t, noise = method.diffusion.draw(image)
    background = torch.stack([torch.ones(2, 32, 32), -torch.ones(2, 32, 32)], 1)
    mask = method.teacher.mask(image, schedule.add_noise(background, noise, t), t)
    t, noise = schedule.draw(2), torch.randn_like(image)
    believed = method.teacher.noise(schedule.add_noise(image, noise, t), mask, t)
    assert step.loss.item() == pytest.approx((believed - noise).square().mean().item(), rel=1e-5)


def halved_dice(logits, labels):
    return dice_loss((logits / 2).softmax(1), one_hot(labels, 2), smooth=1.0, per_sample=True)


# ------------------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_input": "pure"}, "pure needs reconstruction_space: image"),
        ({"t_max": 1001}, "more than diffusion.steps 1000"),
        ({"predict": {"t": 0}}, r"between 1 and diffusion\.steps 1000"),
        ({"predict": {"t": 200}, "diffusion": {"steps": 100}}, r"between 1 and diffusion\.steps 100"),
        ({"predict": {"steps": 200}, "diffusion": {"steps": 100}}, r"between 1 and diffusion\.steps 100"),
        ({"rounds": {"recompute": True, "track": True}}, "set rounds.track to false"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(ConfigError, match=message):
        method_config(MethodSection(name=NAME, **settings))


def test_phases():
    names = [
        [phase.name for phase in build(**settings).phases()]
        for settings in ({}, {"pretrain": {"iterations": 0}}, {"pretrained": "somewhere"})
    ]
    assert names == [["pretrain", "co-train"], ["co-train"], ["co-train"]]
    assert build(pretrain={"iterations": 7}).phases()[0].length(100) == 7
    assert build().phases()[0].length(100) == 100


@pytest.mark.parametrize("network", ["student", "teacher", "mean"])
def test_who_predicts(network):
    method = build(predict={"network": network})
    chosen = list(method.predictor().pathways)
    wanted = {
        "student": [method.student],
        "teacher": [method.teacher.mask],
        "mean": [method.student, method.teacher.mask],
    }
    assert chosen == wanted[network]


# ------------------------------------------------------------------------------------------------------------ matching


class Painter(torch.nn.Module):
    """A mask pathway's network that always shows the true labels, on channels of its own choice."""

    def __init__(self, labels, channels):
        super().__init__()
        self.picture = 5 * one_hot(labels, 3)[:, channels]

    def forward(self, x, t):
        return self.picture


def test_labelled_patches_name_the_teacher_s_channels_once():
    method = build(classes=3, rounds={"count": 1})
    batch = small_batch(method.task)
    method.teacher.mask.network = Painter(batch.labels, [2, 0, 1])
    method._match(batch)
    found = method.diffusion.mask(method.teacher.mask, batch.labelled)
    assert torch.equal(found.argmax(1), batch.labels)
    assert method.teacher.training
    batch.labels = 2 - batch.labels
    method._match(batch)
    assert method.teacher.mask.order.tolist() == [1, 2, 0], "later patches change nothing"
    off = build(classes=3, match_channels=False)
    off.teacher.mask.network = Painter(batch.labels, [2, 0, 1])
    off._match(batch)
    assert off.teacher.mask.order.tolist() == [0, 1, 2]


# ---------------------------------------------------------------------------------------------------------- real runs


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset.open(write_dataset(tmp_path_factory.mktemp("data") / "Dataset001_Blobs", cases=6, dims=2))


CASES = [f"case_{n:03d}" for n in range(6)]
ONE_LABEL = Split(labelled=("case_004",), unlabelled=(*CASES[:4], CASES[5]))
THREE_LABELS = Split(labelled=("case_002", "case_004", "case_000"), unlabelled=("case_001", "case_003", "case_005"))


def experiment(**method):
    return small_experiment(
        train={"iterations": 2},
        method={"name": NAME, "rounds": {"count": 1}, "pretrain": {"iterations": 3}, **method},
    )


@pytest.fixture(scope="module")
def pretrained(dataset, tmp_path_factory):
    """A run with one label, and what it heard."""
    heard = Recorder()
    return train(experiment(), dataset, ONE_LABEL, tmp_path_factory.mktemp("runs") / "one", listener=heard), heard


def test_pretraining_sees_all_images_and_does_not_depend_on_who_is_labelled(dataset, pretrained, tmp_path):
    run, heard = pretrained
    assert heard.begun == (0, 3 + 2)
    other = train(experiment(), dataset, THREE_LABELS, tmp_path / "three")
    assert run.kept("pretrain").read_bytes() == other.kept("pretrain").read_bytes()
    assert run.weights().read_bytes() != other.weights().read_bytes()
    job = assemble(experiment(), dataset, THREE_LABELS)
    phase = build().phases()[0]
    streams = job.stream(phase).streams
    assert (streams.labelled, streams.unlabelled) == ((), tuple(CASES))
    assert len(job.stream(phase).batch(0).labels) == 0


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_pretrained_teacher_serves_another_label_fraction(dataset, pretrained, tmp_path, form):
    source = pretrained[0].path if form == "folder" else pretrained[0].kept("pretrain")
    heard = Recorder()
    run = train(experiment(pretrained=str(source)), dataset, THREE_LABELS, tmp_path / "run", listener=heard)
    assert heard.begun == (0, 2)
    assert not run.kept("pretrain").exists()
    moved_away = Predictor.from_run(run.path)  # needs no pre-trained weights
    assert moved_away.module.pathways[0].order.tolist() in ([0, 1], [1, 0])


def test_the_first_step_of_co_training_starts_at_the_kept_weights(dataset, pretrained, tmp_path):
    kept = load_file(pretrained[0].kept("pretrain"))
    method = build(pretrained=str(pretrained[0].path))
    start_from(method)
    assert all(torch.equal(kept[key], value) for key, value in method.teacher.state_dict().items())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pretrained": "nowhere"}, RunError, "there is no such file or run folder"),
        (
            {"diffusion": {"schedule": "cosine"}},
            ConfigError,
            r"diffusion\.schedule=linear: set method\.diffusion\.schedule",
        ),
    ],
)
def test_weights_that_cannot_serve_stop_the_run_before_it_is_there(
    dataset, pretrained, tmp_path, change, error, message
):
    with pytest.raises(error, match=message):
        train(experiment(**({"pretrained": str(pretrained[0].path)} | change)), dataset, ONE_LABEL, tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_run_without_the_phase_has_nothing_to_give(dataset, tmp_path):
    plain = train(small_experiment(train={"iterations": 1}), dataset, ONE_LABEL, tmp_path / "plain")
    with pytest.raises(RunError, match="no finished phase pretrain"):
        train(experiment(pretrained=str(plain.path)), dataset, ONE_LABEL, tmp_path / "run")


def test_a_run_stopped_in_pretraining_goes_on(dataset, pretrained, tmp_path):
    with pytest.raises(InterruptedRunError):
        train(experiment(), dataset, ONE_LABEL, tmp_path / "cut", listener=Recorder(stop_after=2))
    run = train(experiment(), dataset, ONE_LABEL, tmp_path / "cut", resume=True)
    assert run.kept("pretrain").read_bytes() == pretrained[0].kept("pretrain").read_bytes()
    assert run.weights().read_bytes() == pretrained[0].weights().read_bytes()


def test_pretraining_is_not_validated(dataset, tmp_path):
    """Its student has learnt nothing yet, and must not become the best model."""
    split = Split(labelled=CASES[:1], unlabelled=CASES[1:4], validation=CASES[4:])
    settings = {"train": {"validate_every": 1, "iterations": 1}, "method": experiment().method.model_dump()}
    heard = Recorder()
    train(small_experiment(**settings), dataset, split, tmp_path / "run", listener=heard)
    assert ["val_dice" in values for _, values in heard.steps] == [False, False, False, True]


@pytest.mark.parametrize("engine", ["eager", "fused", "bf16"])
def test_files_of_the_spread(dataset, pretrained, tmp_path, engine):
    predictor = Predictor.from_run(pretrained[0].path, device="cpu")
    predictor.settings = predictor.settings.model_copy(update={"engine": engine})
    predictor.draw(2)
    scan = dataset.case("case_001").images[0]
    predictor.predict_files(scan, tmp_path, uncertainty=True, spread=True)
    files = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.*"))
    assert files == ["case_001.png", "spread/case_001.tif", "uncertainty/case_001.tif"]
    again = Predictor.from_run(pretrained[0].path, device="cpu")
    with pytest.raises(ConfigError, match="draws one sample"):
        again.predict_files(scan, tmp_path / "other", spread=True)
    assert not (tmp_path / "other").exists()


def test_spread_over_noise_samples_of_a_scan(dataset, pretrained):
    predictor = Predictor.from_run(pretrained[0].path, device="cpu")
    image = dataset.read("case_001")
    spread = np.full(image.geometry.shape, np.nan, np.float32)
    with pytest.raises(ConfigError, match="draws one sample: ask for several with --draws 8"):
        predictor.segment(image, spread=spread)
    single = predictor.predict(image).probabilities
    predictor.draw(3)
    entropy, probabilities = np.empty_like(spread), np.empty((2, *spread.shape), np.float32)
    labels = predictor.segment(image, spread=spread, uncertainty=entropy, probabilities=probabilities)
    assert spread.min() >= 0
    assert 0 < spread.max() <= 1
    averaged = predictor.predict(image)
    np.testing.assert_array_equal(labels, averaged.labels)
    np.testing.assert_allclose(probabilities, averaged.probabilities, atol=1e-6)
    np.testing.assert_allclose(entropy, averaged.uncertainty, atol=1e-6)
    assert not np.array_equal(single, averaged.probabilities)
