"""Which phase and which term changes what; and that the frozen part is frozen."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from fewmask.components.losses import dice_loss, one_hot
from fewmask.config import MethodSection, load_experiment
from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.optim import learning_rate, turn_config
from fewmask.engine.train import train
from fewmask.errors import ConfigError, FewmaskWarning
from fewmask.inference.sliding_window import sliding_window
from fewmask.inference.weights import load_weights
from fewmask.methods import Progress, build_method, method_config
from fewmask.networks.autoencoder import Autoencoder, AutoencoderShape
from fewmask.recipes import recipe_path
from helpers import write_dataset
from toys import CHEAP, small_batch, small_experiment, small_network, small_task

NAME = "semigda"
OFF = {"weight": 0.0}
PARTS = ("autoencoder", "mapping", "encoder", "adapters.image", "adapters.mask")


def build(classes=2, network=None, channels=1, **settings):
    torch.manual_seed(0)
    section = MethodSection(name=NAME, **(CHEAP[NAME] | settings))
    return build_method(small_task(2, classes, channels), section, small_network(**(network or {}))).train()


def at(phase, turn="main", iteration=49):
    return Progress(iteration, 50, phase, turn)


def step_of(method, phase, batch=None, turn=None):
    """One forward and backward as the engine has them; gives the step."""
    turns = method.turns(phase)
    method.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    step = method(batch or small_batch(method.task), at(phase, (turn or turns[0].name)))
    step.loss.backward()
    return step


def moved(method):
    """The parts that got a gradient: each of their weights one that is not zero, or none of them any."""
    found = []
    for part in PARTS:
        # A bias under a normalisation, or of the attention's keys, has a gradient of zero by its nature; weights have not.
        named = [(name, p) for name, p in method.branches.get_submodule(part).named_parameters() if p.ndim > 1]
        still = [name for name, p in named if p.grad is None or not p.grad.any()]
        if not still:
            found.append(part)
        else:
            assert len(still) == len(named), f"{part}: {still}"
    return found


def weights(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


# ------------------------------------------------------------------------------------------------------ what trains


@pytest.mark.parametrize(
    ("phase", "turn", "parts"),
    [
        ("autoencoder", "main", ["autoencoder"]),
        ("align", "image", ["mapping"]),
        ("align", "mask", ["encoder"]),
        ("train", "main", ["mapping", "encoder", "adapters.image", "adapters.mask"]),
    ],
)
@pytest.mark.parametrize("classes", [2, 4])
def test_what_learns_in_a_phase(phase, turn, parts, classes):
    method = build(classes)
    step_of(method, phase, turn=turn)
    assert moved(method) == parts
    stepped = {id(p) for one in method.turns(phase) for p in one.parameters if one.name == turn}
    assert {id(p) for part in parts for p in method.branches.get_submodule(part).parameters()} == stepped


@pytest.mark.parametrize("phase", ["align", "train"])
def test_the_autoencoder_is_bit_equal_after_training(phase):
    method = build()
    before = weights(method.branches.autoencoder)
    turns = method.turns(phase)
    optimisers = [torch.optim.AdamW(turn.parameters, lr=0.01, weight_decay=0.1) for turn in turns]
    everything = weights(method)
    for iteration in range(3):
        for turn, optimiser in zip(turns, optimisers, strict=True):
            method.zero_grad(set_to_none=True)
            method(small_batch(method.task), Progress(iteration, 3, phase, turn.name)).loss.backward()
            assert all(p.grad is None for p in method.branches.autoencoder.parameters())
            optimiser.step()
        method.after_step(Progress(iteration, 3, phase))
    assert same(before, weights(method.branches.autoencoder))
    assert not same(everything, weights(method))


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (
            {"align": "none", "agree": False, "unlabelled": OFF},
            ["mapping", "encoder", "adapters.image", "adapters.mask"],
        ),
        ({"dice_weight": 0, "agree": False}, ["mapping", "encoder"]),
        ({"dice_weight": 0, "align": "none"}, ["mapping", "encoder", "adapters.image", "adapters.mask"]),
        ({"dice_weight": 0, "agree": False, "align": "labelled"}, ["mapping", "encoder"]),
    ],
)
def test_who_learns_by_a_term(settings, parts):
    method = build(**settings)
    assert step_of(method, "train").loss > 0
    assert moved(method) == parts


def test_each_branch_learns_from_its_own_masks():
    """A Dice loss of one branch's mask reaches its own networks and the other's not."""
    for branch, parts in (("image", ["mapping", "adapters.image"]), ("mask", ["encoder", "adapters.mask"])):
        method = build()
        method.turns("train")
        image = method.branches.prepare(small_batch(method.task).images)
        method._shares(branch, method.branches.find(branch, image)).square().mean().backward()
        assert moved(method) == parts


# ------------------------------------------------------------------------------------------------------- the losses


def test_the_whole_loss_is_the_sum_of_its_terms():
    method = build(3, noise=0)
    batch, branches, code = small_batch(method.task), method.branches, method.code
    step = step_of(method, "train", batch)
    image = branches.prepare(batch.images)
    z_v = branches.autoencoder.encode(image).mean
    z_m, (moments, skips) = branches.mapping(z_v), branches.encoder(image)
    z_r = branches.autoencoder.code(moments, skips).mean
    z_g = branches.autoencoder.encode(code.to_image(batch.labels)).mean
    found = [branches.find(name, image) for name in ("image", "mask")]
    torch.testing.assert_close(found[0].latent, z_m)
    p, q = (
        code.memberships(code.to_level(branches.decode(n, f))) for n, f in zip(("image", "mask"), found, strict=True)
    )
    truth, weight = one_hot(batch.labels, 3), 0.1 * math.exp(-5 * 0.02**2)
    plain = {"squared": False, "per_sample": True}
    wanted = dice_loss(p[:2], truth, **plain) + dice_loss(q[:2], truth, **plain)
    wanted = wanted + F.mse_loss(z_m[:2], z_g) + F.mse_loss(z_r[:2], z_g)
    wanted = wanted + weight * (F.mse_loss(z_m[2:], z_r[2:]) + 2 * dice_loss(p[2:], q[2:], **plain))
    assert step.loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_background_counts_for_more_than_two_classes_alone():
    shares = torch.tensor([[0.9, 0.5], [0.1, 0.5]])[None, :, None]
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[None, :, None]
    foreground, background = 1 - 1.0 / 1.6, 1 - 1.8 / 2.4
    assert float(build()._dice(shares, truth)) == pytest.approx(foreground, abs=1e-4)
    both = build(dice_background=True)._dice(shares, truth)
    assert float(both) == pytest.approx((foreground + background) / 2, abs=1e-4)
    three = torch.cat([shares, torch.zeros(1, 1, 1, 2)], 1), torch.cat([truth, torch.zeros(1, 1, 1, 2)], 1)
    assert float(build(3)._dice(*three)) == pytest.approx((foreground + background) / 3, abs=1e-4)


def test_latent_distances_by_hand():
    first, second = torch.full((2, 4, 3, 3), 0.7), torch.full((2, 4, 3, 3), 0.5)
    assert float(build()._distance(first, second)) == pytest.approx(0.04, rel=1e-5)
    assert float(build(latent_reduction="sum")._distance(first, second)) == pytest.approx(0.04 * 36, rel=1e-5)


def test_each_turn_of_the_alignment_takes_the_other_branch_for_granted():
    method, batch = build(align_unlabelled={"shape": "constant", "weight": 0.5}), None
    batch = small_batch(method.task)
    image = method.branches.prepare(batch.images)
    z_m, z_r = (method.branches.find(name, image).latent for name in ("image", "mask"))
    z_g = method.branches.autoencoder.encode(method.code.to_image(batch.labels)).mean
    for turn, own in (("image", z_m), ("mask", z_r)):
        step = step_of(method, "align", batch, turn)
        wanted = F.mse_loss(own[:2], z_g) + 0.5 * F.mse_loss(z_m[2:], z_r[2:])
        assert step.loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_two_turns_have_the_gradients_of_one_loss():
    """What each branch learns while the other holds still is what it would learn from the sum that moves both."""
    settings = {"align_unlabelled": {"shape": "constant", "weight": 0.5}}
    turned, joint = build(**settings), build(**settings)
    batch, grads = small_batch(turned.task), {}
    for turn, part in (("image", "mapping"), ("mask", "encoder")):
        step_of(turned, "align", batch, turn)
        grads[part] = [p.grad for p in turned.branches.get_submodule(part).parameters()]
    joint.turns("align")
    image = joint.branches.prepare(batch.images)
    z_m, z_r = (joint.branches.find(name, image).latent for name in ("image", "mask"))
    z_g = joint.branches.autoencoder.encode(joint.code.to_image(batch.labels)).mean
    loss = F.mse_loss(z_m[:2], z_g) + F.mse_loss(z_r[:2], z_g) + 0.5 * F.mse_loss(z_m[2:], z_r[2:])
    loss.backward()
    for part, found in grads.items():
        for mine, p in zip(found, joint.branches.get_submodule(part).parameters(), strict=True):
            torch.testing.assert_close(mine, p.grad, rtol=1e-4, atol=1e-6)


def test_the_rate_begins_anew_in_the_last_phase_alone():
    """Published: 116 of 350 passes a cycle while all is trained, one long decay in the alignment before it."""
    config, method = load_experiment(recipe_path("busi/semigda")).train, build()

    def rates(phase, steps, length):
        return [[learning_rate(turn_config(config, turn), i, length) for i in steps] for turn in method.turns(phase)]

    image, mask = rates("align", (0, 265, 400, 799), 800)
    decay = [(1 - i / 800) ** 0.9 for i in (0, 265, 400, 799)]
    assert image == pytest.approx([0.002 * share for share in decay])
    assert mask == pytest.approx([0.01 * share for share in decay])
    (whole,) = rates("train", (0, 26 * 115, 26 * 116, 26 * 232), 9100)
    assert whole == pytest.approx([0.01, 0.000139, 0.01, 0.01], abs=1e-6)


def test_targets_of_the_agreement():
    shares = [torch.tensor([[1 - p, p] for p in values]).T[None, :, None] for values in ([0.95, 0.6], [0.2, 0.97])]
    first, second = (one.clone().requires_grad_() for one in shares)
    values = {t: build(target=t)._agreement(first, second) for t in ("detached", "soft", "sharpened")}
    overlap = 1 - 2 * (0.95 * 0.2 + 0.6 * 0.97) / (0.95 + 0.6 + 0.2 + 0.97)
    assert values["detached"].item() == pytest.approx(2 * overlap, abs=1e-4)
    assert values["soft"].item() == pytest.approx(2 * overlap, abs=1e-4)
    sharp = (1 - 2 * 0.6 / (1.55 + 1)) + (1 - 2 * 0.2 / (1.17 + 1))
    assert values["sharpened"].item() == pytest.approx(sharp, abs=1e-4)
    once, twice = (torch.autograd.grad(values[t], first)[0] for t in ("detached", "soft"))
    torch.testing.assert_close(2 * once, twice)


def test_exchanged_boxes_come_after_a_third_of_the_phase():
    method = build(mix=True)
    batch = small_batch(method.task)
    assert "mix" not in method(batch, at("train", iteration=16)).logs
    step = method(batch, at("train", iteration=17))
    assert step.logs["mix"] > 0


def test_noise_is_on_the_image_branch_and_in_training_alone():
    method = build(noise=1.0)
    image = method.branches.prepare(small_batch(method.task).images)
    assert method._noise(image, "mask") is None
    noise = method._noise(image, "image")
    code = method.branches.autoencoder.encode(image)
    noisy, plain = (method.branches.find("image", image, n).latent for n in (noise, None))
    torch.testing.assert_close(noisy, method.branches.mapping(code.mean + noise * code.std))
    assert not torch.equal(noisy, plain)
    assert not build(noise=1e-9)._noise(image, "image").any()


def test_what_the_release_trains():
    """Another weight, sure labels, exchanged boxes, no latent loss in the last phase, greys from 0 to 1 in the alignment."""
    method = build(as_released=True, noise=1.0)
    step = step_of(method, "train")
    assert {"agree", "mix"} <= step.logs.keys()
    assert "align" not in step.logs
    assert step.logs["weight"] == pytest.approx(0.3 * math.exp(-5 * 0.02**2), rel=1e-3)
    batch = small_batch(method.task)
    seen = method.branches.autoencoder.encode((method.code.to_image(batch.labels) + 1) / 2).mean
    assert torch.equal(method._mask_latent(batch.labels), seen)
    drawn = []
    for one in (method, build(noise=1.0)):  # a noise that the latent's scale does not shrink
        one.branches.autoencoder.scale.fill_(0.2)
        torch.manual_seed(1)
        drawn.append(one._noise(method.branches.prepare(batch.images), "image"))
    torch.testing.assert_close(drawn[0], 5 * drawn[1])
    method.branches.autoencoder.scale.fill_(1.0)
    aligned = step_of(method, "align", turn="image").logs["weight"]
    assert aligned == pytest.approx(0.3 * math.exp(-5 * (1 - 0.98 / 12) ** 2), rel=1e-3)


# ----------------------------------------------------------------------------------------------------------- phases


def test_phases_depend_on_what_is_given():
    names = [phase.name for phase in build().phases()]
    assert names == ["autoencoder", "align", "train"]
    assert [phase.name for phase in build(align="none").phases()] == ["autoencoder", "train"]
    given = {**CHEAP[NAME]["autoencoder"], "pretrained": "somewhere"}
    assert [phase.name for phase in build(autoencoder=given).phases()] == ["align", "train"]
    first, align, _ = build(align="labelled", autoencoder={**CHEAP[NAME]["autoencoder"], "masks": "labelled"}).phases()
    assert (first.labelled, build().phases()[0].labelled) == (True, False)
    assert (align.unlabelled, align.sampling["labelled"]) == (False, 2)


def test_latents_of_the_trained_autoencoder_get_variance_one():
    method = build()
    for iteration in range(20):
        method(small_batch(method.task, seed=iteration), Progress(iteration, 20, "autoencoder"))
        method.after_step(Progress(iteration, 20, "autoencoder"))
        assert (float(method.branches.autoencoder.scale) != 1) is (iteration == 19)
    torch.manual_seed(3)
    image = method.branches.prepare(small_batch(method.task, seed=30, unlabelled=6).images)
    grey = method.code.to_image(small_batch(method.task, seed=31, labelled=6).labels)
    latents = method.branches.autoencoder.encode(torch.cat([image, grey])).mean
    assert float(latents.detach().std()) == pytest.approx(1, abs=0.25)


def test_a_lossy_autoencoder_is_told():
    method = build()
    with pytest.warns(FewmaskWarning, match="gives back .* of the masks' pixels"):
        method(small_batch(method.task), Progress(99, 100, "autoencoder"))
    given = build(autoencoder={**CHEAP[NAME]["autoencoder"], "pretrained": "somewhere"})
    with pytest.warns(FewmaskWarning, match="gives back"):
        step = given(small_batch(given.task), Progress(0, 100, "align", "image"))
    assert 0 <= step.logs["mask_accuracy"] < 0.95


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """A finished run of two steps a phase, and its data."""
    folder = tmp_path_factory.mktemp("semigda")
    data = Dataset.open(write_dataset(folder / "Dataset001_Blobs", cases=4, dims=2))
    split = Split(labelled=("case_000",), unlabelled=("case_001", "case_002", "case_003"))
    experiment = small_experiment(NAME, train={"iterations": 2})
    return data, split, train(experiment, data, split, folder / "first")


def test_another_run_takes_up_the_autoencoder_and_leaves_it_as_it_is(first_run, tmp_path):
    data, split, first = first_run
    kept = first.kept("autoencoder")
    assert kept.is_file()
    own = {**CHEAP[NAME]["autoencoder"], "pretrained": str(first.path)}
    experiment = small_experiment(NAME, train={"iterations": 2, "seed": 1}, method={"autoencoder": own})
    with pytest.warns(FewmaskWarning, match="gives back"):
        second = train(experiment, data, split, tmp_path / "second")
    method = build_method(second.task(), second.experiment().method, second.experiment().network)
    load_weights(second.weights("last"), method.predictor())
    reference = Autoencoder(AutoencoderShape(widths=own["widths"], groups=own["groups"]))
    load_weights(kept, reference)
    assert same(weights(reference), weights(method.branches.autoencoder))


def test_an_autoencoder_of_another_kind_is_refused(first_run, tmp_path):
    data, split, first = first_run
    own = {**CHEAP[NAME]["autoencoder"], "pretrained": str(first.path), "masks": "labelled"}
    experiment = small_experiment(NAME, train={"iterations": 2}, method={"autoencoder": own})
    with pytest.raises(ConfigError, match=r"autoencoder\.masks=drawn"):
        train(experiment, data, split, tmp_path / "other")


def test_stable_diffusions_weights_come_from_a_folder_when_a_run_begins(first_run, tmp_path):
    data, split, _ = first_run
    torch.manual_seed(7)
    source = Autoencoder(AutoencoderShape(widths=(8, 8), groups=4))
    source.kl.save_pretrained(tmp_path / "vae")
    own = {"widths": [8, 8], "groups": 4, "layers": 1, "diffusers": str(tmp_path / "vae")}
    experiment = small_experiment(NAME, train={"iterations": 2}, method={"autoencoder": own})
    with pytest.warns(FewmaskWarning, match="gives back"):
        run = train(experiment, data, split, tmp_path / "run")
    (tmp_path / "vae").rename(tmp_path / "gone")
    method = build_method(run.task(), run.experiment().method, run.experiment().network)
    load_weights(run.weights("last"), method.predictor())
    assert same(weights(source.kl), weights(method.branches.autoencoder.kl))
    assert float(method.branches.autoencoder.scale) == pytest.approx(0.18215)


# ------------------------------------------------------------------------------------------------------- prediction


def test_the_mean_of_the_branches_predicts_or_one_of_them():
    image = small_batch(small_task()).images
    mean, first, second = (build(predict_with=w).predictor().eval()(image) for w in ("mean", "image", "mask"))
    assert not torch.equal(first, second)
    torch.testing.assert_close(mean, (first + second) / 2)


def test_two_sure_branches_that_differ_by_two_classes_never_give_the_one_between():
    method = build(3)
    labels = torch.tensor([[[0, 2]]])
    shares = [
        method.code.memberships(method.code.to_level(method.code.to_image(one))) for one in (labels, labels.flip(2))
    ]
    assert (torch.stack(shares).mean(0).argmax(1) != 1).all()


@pytest.mark.parametrize(("classes", "settings"), [(3, {}), (5, {}), (4, {"codes": {"mode": "palette"}})])
def test_a_colour_image_of_any_size(classes, settings):
    predictor = build(classes, channels=3, **settings).predictor().eval()
    image = torch.rand(3, 30, 50, generator=torch.Generator().manual_seed(0))
    found = sliding_window(image, predictor, (32, 32), (16, 16))
    assert found.shape == (classes, 30, 50)
    torch.testing.assert_close(found.sum(0), torch.ones(30, 50))
    assert found.std() > 0


def test_ablated_adapters_are_not_there():
    for which, names in (("both", ["image", "mask"]), ("image", ["image"]), ("mask", ["mask"]), ("none", [])):
        assert list(build(adapters=which).branches.adapters) == names


def test_adapters_bring_the_features_of_their_own_encoder():
    method = build()
    image = method.branches.prepare(small_batch(method.task).images)
    found = {name: method.branches.find(name, image) for name in ("image", "mask")}
    for name, other in (("image", "mask"), ("mask", "image")):
        swapped = found[name]._replace(skips=found[other].skips)
        assert not torch.equal(method.branches.decode(name, found[name]), method.branches.decode(name, swapped))
    plain = build(adapters="none").branches
    output = plain.decode("image", found["image"])
    assert torch.equal(output, plain.decode("image", found["image"]._replace(skips=found["mask"].skips)))


def test_images_become_three_channels_between_minus_one_and_one():
    image = torch.tensor([[[[2.0, 4.0], [3.0, 6.0]]]])
    own = build().branches.prepare(image)
    assert own.tolist() == [[[[-1.0, 0.0], [-0.5, 1.0]]] * 3]
    fixed = build(input_range=[0, 8]).branches.prepare(image)
    assert fixed[0, 0].tolist() == [[-0.5, 0.0], [-0.25, 0.5]]
    colour = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(build(channels=3, input_range=[0, 1]).branches.prepare(colour), 2 * colour - 1)
    assert build().branches.prepare(torch.full((1, 1, 2, 2), 5.0)).isfinite().all()


# -------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 2}, "1 or 3 channels"),
        ({"classes": 3, "codes": {"class_order": [1, 0]}}, "names 2 classes, but there are 3"),
        ({"autoencoder": {"widths": [8] * 7, "groups": 4}}, "not a multiple of 64"),
        ({"autoencoder": {"diffusers": "a", "pretrained": "b"}}, "either diffusers or pretrained"),
        ({"blocks": []}, "blocks needs one number"),
        ({"input_range": [1, 0]}, "lowest, highest"),
        ({"ce_weight": 0.5}, "ce_weight"),
        ({"classes": 9, "codes": {"mode": "palette"}}, "a palette has 8 colours; set codes.mode=scalar"),
        ({"classes": 2, "codes": {"mode": "palette", "class_order": [0, 1]}}, "palette has none"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        build(**settings)


def test_it_is_two_dimensional():
    with pytest.raises(ConfigError, match="not defined in 3D, only in"):
        build_method(small_task(3), MethodSection(name=NAME), small_network())


def test_without_settings_it_is_what_the_paper_says():
    config = method_config(MethodSection(name=NAME))
    assert (config.unlabelled.weight, config.unlabelled.shape, config.unlabelled.steps) == (0.1, "gaussian", None)
    assert (config.align_batch, config.mapping_lr, config.encoder_lr) == (12, 2e-3, 1e-2)


def test_norm_and_dropout_are_the_encoders():
    kinds = {type(m).__name__ for m in build(network={"norm": "batch", "dropout": 0.3}).branches.encoder.modules()}
    assert {"BatchNorm2d", "Dropout"} <= kinds
