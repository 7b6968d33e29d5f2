"""Who learns what from whom, in Diff-CL."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
import torch

from fewmask.config import MethodSection, NetworkConfig
from fewmask.engine.optim import build_optimiser
from fewmask.errors import ConfigError
from fewmask.methods import Progress, SoftmaxPredictor, Turn, build_method, method_config
from fewmask.networks.counting import count_parameters
from fewmask.task import Task
from toys import small_batch, small_experiment, small_network, small_task

NAME = "diff-cl"
OFF, FULL = {"weight": 0.0}, {"weight": 1.0, "shape": "constant"}
SILENT = {"ce_weight": 0.0, "dice_weight": 0.0}
SMALL = {"bank": {"slots": 4, "push": 32}, "propagation": {"candidates": 400, "top": 16, "anchors": 16, "size": 8}}
END = Progress(99, 100)


def build(dims=2, classes=2, network=None, **settings):
    torch.manual_seed(0)
    section = MethodSection(name=NAME, **(SMALL | settings))
    return build_method(small_task(dims, classes), section, small_network(**(network or {}))).train()


def step_of(method, progress=END, seed=0):
    torch.manual_seed(seed)
    return method(small_batch(method.task), progress)


def gradients(*modules):
    return [None if p.grad is None else p.grad.clone() for module in modules for p in module.parameters()]


def moved(module):
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


def learners(method, loss):
    """Which parts a loss moves."""
    method.zero_grad()
    loss.backward(retain_graph=True)
    parts = {"cs": method.cs, "ds": method.ds, "head": method.propagation.head}
    return {name for name, part in parts.items() if moved(part) > 0}


# ------------------------------------------------------------------------------------------------------- the networks


def test_published_sizes():
    task = Task(3, 1, ("background", "atrium"), (112, 112, 80), (1.0,) * 3)
    sizes = {}
    for stages in ([], [4]):
        method = build_method(task, MethodSection(name=NAME, hfm={"stages": stages}), NetworkConfig())
        sizes[tuple(stages)] = count_parameters(method.cs)
        assert count_parameters(method.ds) == 10_837_266
        assert count_parameters(method.propagation.head) == 5_376
    assert sizes == {(): 9_448_866, (4,): 10_586_146}


def test_the_networks_share_nothing():
    method = build()
    assert not {id(p) for p in method.cs.parameters()} & {id(p) for p in method.ds.parameters()}
    with pytest.raises(RuntimeError, match="Missing key"):
        method.ds.load_state_dict(method.cs.state_dict())


# ------------------------------------------------------------------------------------------------- who learns by what


@pytest.mark.parametrize(("dims", "classes"), [(2, 4), (3, 2)])
def test_who_learns_by_which_term(dims, classes, monkeypatch):
    """The supervised losses move their own network, each pseudo-label loss the one that is taught, the contrast CS and head."""
    weights = {"cross_ds": FULL, "cross_cs": FULL, "contrast": {"weight": 1.0}}

    def loss(**changes):
        return step_of(method := build(dims, classes, **(weights | changes))), method

    whole, method = loss()
    assert learners(method, whole.loss) == {"cs", "ds", "head"}
    terms = {}
    plain = type(method).supervised

    def spy(self, logits, labels):
        step = plain(self, logits, labels)
        terms[len(terms)] = step.loss
        return step

    monkeypatch.setattr(type(method), "supervised", spy)
    monkeypatch.setattr(type(method.propagation), "forward", keep(terms, "contrast", type(method.propagation).forward))
    torch.manual_seed(0)
    step = method(small_batch(method.task), END)
    assert [learners(method, terms[k]) for k in range(4)] == [{"cs"}, {"ds"}, {"ds"}, {"cs"}]
    assert learners(method, terms["contrast"]) == {"cs", "head"}
    torch.testing.assert_close(step.loss, sum(terms.values()))


def keep(terms, name, forward):
    def spy(self, *arguments):
        loss, logs = forward(self, *arguments)
        terms[name] = loss
        return loss, logs

    return spy


def test_one_backward_and_one_optimiser_equal_two_of_each():
    """``L_d`` and ``L_c`` meet in labels only, which carry no gradient."""
    separate = []
    for off in ("cs", "ds"):
        method = build(cross_ds=FULL, cross_cs=FULL)
        for p in getattr(method, off).parameters():
            p.requires_grad_(False)
        if off == "cs":
            method.propagation.head.requires_grad_(False)
        step_of(method).loss.backward()
        separate.append(method)
    joint = build(cross_ds=FULL, cross_cs=FULL)
    step_of(joint).loss.backward()
    for name, source in (("ds", separate[0]), ("cs", separate[1])):
        pairs = zip(gradients(getattr(joint, name)), gradients(getattr(source, name)), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs if one is not None)
    one, two = build(cross_ds=FULL, cross_cs=FULL), build(cross_ds=FULL, cross_cs=FULL)
    parts = [[*two.cs.parameters(), *two.propagation.parameters()], list(two.ds.parameters())]
    config = small_experiment().train
    optimisers = [
        build_optimiser(config, turn) for turn in (*one.turns("train"), *(Turn("part", part) for part in parts))
    ]
    for seed in range(2):
        for method in (one, two):
            step_of(method, seed=seed).loss.backward()
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(joint.parameters()))


def test_pseudo_labels_teach_as_true_ones_would():
    """With the weights of true labels at 0, what is left is the loss against the other network's argmax."""
    method = build(cross_ds=FULL, cross_cs=FULL, contrast=OFF)
    batch = small_batch(method.task)
    seen = {}
    noised = method.diffusion.noised
    method.diffusion.noised = lambda labels, k, t: seen.setdefault(
        "noisy", noised(seen.setdefault("labels", labels), k, t)
    )
    draw = method.diffusion.draw_for
    method.diffusion.draw_for = lambda *counts: seen.setdefault("t", draw(*counts))
    torch.manual_seed(0)
    step = method(batch, END)
    z_c = method.cs(batch.images)
    z_d = method.ds(torch.cat([batch.images, seen["noisy"]], 1), seen["t"])
    assert torch.equal(seen["labels"][:2], batch.labels)
    assert torch.equal(seen["labels"][2:], z_c[2:].argmax(1))
    wanted = [method.supervised(z[:2], batch.labels).loss for z in (z_c, z_d)]
    wanted += [
        method.supervised(z_d[2:], z_c[2:].argmax(1)).loss,
        method.supervised(z_c[2:], z_d[2:].argmax(1)).loss,
    ]
    torch.testing.assert_close(step.loss, sum(wanted))
    assert step.logs["agreement"] == (z_c[2:].argmax(1) == z_d[2:].argmax(1)).float().mean()


def test_labels_of_ds_denoised_from_pure_noise():
    method = build(pseudo_from="ddim", ddim_steps=3)
    calls = []
    method.ds.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[1].tolist()))
    step = step_of(method)
    assert calls == [[t] * 4 for t in (999, 500, 0)]
    step.loss.backward()
    assert moved(method.ds) > 0
    other = build()
    assert step_of(other).logs["foreground_ds"] != step.logs["foreground_ds"]


# ------------------------------------------------------------------------------------------------------ switches, ramps


def test_without_pseudo_labels_cs_learns_what_it_does_alone():
    method, alone = build(cross_ds=OFF, cross_cs=OFF), build()
    step_of(method).loss.backward()
    batch = small_batch(alone.task)
    alone.supervised(alone.cs(batch.labelled), batch.labels).loss.backward()
    for one, two in zip(gradients(method.cs), gradients(alone.cs), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_without_contrast_there_is_neither_head_nor_bank():
    method = build(contrast=OFF)
    assert method.propagation is None
    assert not any("bank" in key or "head" in key for key in method.state_dict())
    assert "contrast" not in step_of(method).logs


def test_the_contrast_starts_when_it_is_told_to():
    method = build(propagation=SMALL["propagation"] | {"start": 0.5})
    assert "contrast" not in step_of(method, Progress(49, 100)).logs
    assert int(method.propagation.bank.visits) == 2, "the bank fills already"
    assert "contrast" in step_of(method, Progress(50, 100)).logs


def test_without_modules_cs_is_the_plain_vnet():
    plain = build(hfm={"stages": []}).cs
    assert set(plain.state_dict()) < set(build().cs.state_dict())


def test_the_published_warm_up():
    """Gaussian over 300 epochs of 38 steps: the weight stands still within an epoch."""
    config = method_config(MethodSection(name=NAME))
    for ramp in (config.cross_ds, config.cross_cs):
        values = [ramp.at(Progress(38 * epoch, 11_400)) for epoch in (0, 75, 150, 225, 300)]
        assert values == pytest.approx([0.006738, 0.060055, 0.286505, 0.731616, 1], abs=1e-6)
        assert ramp.at(Progress(38 * 75 + 37, 11_400)) == ramp.at(Progress(38 * 75, 11_400))
    assert config.contrast.at(Progress(0, 11_400)) == 0.7


def test_the_contrast_is_weighed_by_both_its_own_weight_and_that_of_the_pseudo_labels():
    losses = []
    for weight in (0.7, 1.4):
        method = build(contrast={"weight": weight}, **(SILENT | {"cross_cs": {"weight": 0.5, "shape": "constant"}}))
        step = step_of(method)
        losses.append(step.loss.item())
        assert step.loss.item() == pytest.approx(0.5 * weight * step.logs["contrast"].item(), rel=1e-5)
    assert losses[1] == pytest.approx(2 * losses[0], rel=1e-5)


# ------------------------------------------------------------------------------------------------------------- learning


def test_both_networks_learn_a_batch_by_heart():
    """The diffusion network also from pure noise, where no label shows through."""
    method = build(predict_with="ds", ddim_steps=4)
    batch, steps = small_batch(method.task), 40
    optimiser, logs = torch.optim.SGD(method.parameters(), 0.05, 0.9), []
    for iteration in range(steps):
        torch.manual_seed(iteration)
        optimiser.zero_grad()
        step = method(batch, Progress(iteration, steps))
        step.loss.backward()
        optimiser.step()
        logs.append({name: float(value) for name, value in step.logs.items()})
    for name in ("ce", "dice_loss", "ce_ds", "dice_loss_ds"):
        assert logs[-1][name] < 0.15 * logs[0][name], name
    assert all(math.isfinite(value) for row in logs for value in row.values())
    contrasts = [row["contrast"] for row in logs]
    assert fmean(contrasts[-5:]) < 0.9 * contrasts[0]
    method.eval()
    with torch.no_grad():
        for predictor in (method.predictor(), SoftmaxPredictor(method.cs)):
            found = predictor(batch.labelled).argmax(1) == 1
            assert 2 * (found & (batch.labels == 1)).sum() / (found.sum() + batch.labels.sum()) > 0.9


# --------------------------------------------------------------------------------------------------------- bank, purity


def test_the_bank_holds_the_images_by_name():
    method = build()
    for names in (("a", "b", "u", "v"), ("a", "c", "w", "x")):
        batch = small_batch(method.task)
        batch.cases = names
        method(batch, END)
    owners = {int(owner) for owner in method.propagation.bank.owners.flatten() if owner >= 0}
    assert len(owners) == 3


def test_purities_are_logged_for_each_class():
    method = build(classes=4)
    logs = step_of(method).logs
    held = [label for label in range(4) if method.propagation.bank.counts[label].sum() > 0]
    assert held
    names = {f"{kind}_pure_{label}" for kind in ("positives", "negatives") for label in held}
    assert {name for name in logs if "pure" in name} == names
    assert all(0 <= logs[name] <= 1 for name in names)


# ----------------------------------------------------------------------------------------------------------- prediction


@pytest.mark.parametrize("dims", [2, 3])
def test_each_network_predicts_and_both(dims):
    results = {}
    for which in ("cs", "ds", "mean"):
        method = build(dims, predict_with=which, ddim_steps=2)
        predictor = method.predictor().eval()
        image = small_batch(method.task).images
        with torch.no_grad():
            results[which] = predictor(image)
            assert torch.equal(predictor(image), results[which])
        again = build(dims, predict_with=which, ddim_steps=2).predictor()
        again.load_state_dict(predictor.state_dict())
    assert isinstance(build().predictor(), SoftmaxPredictor)
    torch.testing.assert_close(results["mean"], (results["cs"] + results["ds"]) / 2)
    assert not torch.allclose(results["cs"], results["ds"])


# ------------------------------------------------------------------------------------------------------- wrong settings


@pytest.mark.parametrize(
    ("settings", "network", "message"),
    [
        ({"ddim_steps": 2000}, {}, "1 to 1000"),
        ({"hfm": {"stages": [6]}}, {}, "hfm"),
        ({"diffusion": {"stepz": 10}}, {}, "did you mean"),
        ({}, {"name": "resnet34-vnet"}, "not made for diffusion steps"),
    ],
)
def test_settings_that_cannot_be(settings, network, message):
    with pytest.raises(ConfigError, match=message):
        build(network=network, **settings)


def test_a_patch_that_leaves_a_single_voxel_to_the_module_is_refused():
    method = build(hfm={"stages": [5]}, dims=3)
    with pytest.raises(ConfigError, match="single voxel"):
        step_of(method)
