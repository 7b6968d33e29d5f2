"""Methods with one encoder and several decoders or heads, against their equations in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fewmask.config import MethodSection, NetworkConfig
from fewmask.errors import ConfigError
from fewmask.methods import Progress, build_method
from fewmask.methods.ml_rpl import learn_from_surer, reliability
from fewmask.methods.urpc import rectified
from fewmask.task import Task
from toys import small_batch, small_network, small_task

END = Progress(99, 100)
CONSTANT = {"weight": 0.7, "shape": "constant"}


def build(name, dims=2, classes=3, **settings):
    torch.manual_seed(0)
    section = MethodSection(name=name, **settings)
    return build_method(small_task(dims, classes), section, small_network()).train()


def softmax(logits):
    powers = np.exp(logits.detach().numpy().astype(np.float64))
    return powers / powers.sum(1, keepdims=True)


def supervised(logits, labels, ce_weight=0.5, dice_weight=0.5):
    """Cross-entropy and Dice with squares, all classes, of the labelled patches in front."""
    p, y = softmax(logits[: len(labels)]), np.moveaxis(np.eye(logits.shape[1])[labels.numpy()], -1, 1)
    over = (0, *range(2, p.ndim))
    dice = 1 - (2 * (p * y).sum(over) + 1e-5) / ((p**2).sum(over) + (y**2).sum(over) + 1e-5)
    return ce_weight * -np.log((p * y).sum(1)).mean() + dice_weight * dice.mean()


def foreground(logits):
    """The share of the unlabelled patches behind the two labelled ones that is no background."""
    return (logits[2:].detach().numpy().argmax(1) > 0).mean()


def touched(method, term):
    """Which parameters a scalar's gradient reaches."""
    method.zero_grad(set_to_none=True)
    term.backward(retain_graph=True)
    return {name for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}


# --------------------------------------------------------------------------------------------------------------- cct


def disturbed(method, features, seed):
    """The logits of all decoders, with the draws of a seed."""
    torch.manual_seed(seed)
    kinds = [method.of_level[kind] for kind in method.config.perturbations]
    own = [0] * len(kinds) if method.config.shared_decoder else range(1, len(kinds) + 1)
    pairs = zip(own, kinds, strict=True)
    return [method.network.decode([kind(level) for level in features], k).logits[0] for k, kind in pairs]


@pytest.mark.parametrize(("supervise", "shared"), [("all", False), ("main", False), ("all", True)])
def test_cct(supervise, shared):
    method = build("cct", consistency=CONSTANT, supervise=supervise, shared_decoder=shared)
    batch = small_batch(method.task)
    features = method.network.encode(batch.images)
    main, others = method.network.decode(features).logits[0], disturbed(method, features, seed=3)
    apart = np.mean([((softmax(main[2:]) - softmax(other[2:])) ** 2).mean() for other in others])
    known = [supervised(one, batch.labels) for one in ([main, *others] if supervise == "all" else [main])]
    torch.manual_seed(3)
    step = method(batch, END)
    assert step.logs["consistency"].item() == pytest.approx(apart, rel=1e-4)
    assert step.loss.item() == pytest.approx(np.mean(known) + 0.7 * apart, rel=1e-5)
    assert step.logs["pseudo_foreground"].item() == pytest.approx(foreground(main))
    assert len(method.network.decoders) == (1 if shared else 4)


def test_what_disturbs_the_decoders_of_cct():
    method = build("cct")
    x = torch.rand(2, 3, 32, 32) + 0.5
    noisy, dropped, blind = (method.of_level[kind](x) for kind in ("noise", "dropout", "attention"))
    assert (noisy / x - 1).abs().max() <= 0.3 and (noisy != x).any()
    torch.testing.assert_close(noisy[0] / x[0], noisy[1] / x[1])
    assert 0.25 < (dropped == 0).float().mean() < 0.35
    assert ((blind == 0).all(1) | (blind == x).all(1)).all() and (blind == 0).any()


def test_where_the_main_decoder_of_cct_says_to_disturb():
    method = build("cct", perturbations=["objects", "context", "cutout"])
    features = method.network.encode(small_batch(method.task).images)
    seen = torch.zeros(4, 32, 32, dtype=torch.bool)
    seen[:, 8:24, 8:16] = True
    objects, context, cutout = (method._disturbed(kind, features, seen, 1) for kind in ("objects", "context", "cutout"))
    for level, without_objects, without_context, cut in zip(features, objects, context, cutout, strict=True):
        step = 32 // level.shape[-1]
        inside = seen[:, None, ::step, ::step]
        assert torch.equal(without_objects, level * ~inside)
        assert torch.equal(without_context, level * inside)
        assert torch.equal(cut[:, :, ~seen[0, ::step, ::step]], level[:, :, ~seen[0, ::step, ::step]])
    # 0.4 of 16 and of 8 is 6 and 3: of 128 places 18 are cut out.
    assert ((cutout[0] == 0) & (features[0] != 0)).any(1).sum((1, 2)).tolist() == [18] * 4


def test_only_the_deepest_features_of_cct_may_be_disturbed():
    method = build("cct", disturb="deepest")
    features = method.network.encode(small_batch(method.task).images)
    for kind in ("noise", "context", "adversarial"):
        *kept, last = method._disturbed(kind, features, torch.zeros(4, 32, 32, dtype=torch.bool), 1)
        assert all(one is other for one, other in zip(kept, features, strict=False))
        assert not torch.equal(last, features[-1])


def test_the_adversarial_decoder_of_cct_is_moved_most():
    method = build("cct", perturbations=["adversarial"], radius=0.3).train()
    features = [level.detach() for level in method.network.encode(small_batch(method.task).images)]
    statistics = {name: value.clone() for name, value in method.named_buffers()}
    moved = method._disturbed("adversarial", features, torch.zeros(4, 32, 32, dtype=torch.bool), 1)
    assert all(torch.equal(value, statistics[name]) for name, value in method.named_buffers())
    assert all(p.grad is None for p in method.parameters()) and method.network.training
    method.eval()

    def change(levels):
        clean, other = (method._decode(z, 1).softmax(1) for z in (features, levels))
        return (clean * (clean / other).log()).sum().item()

    lengths = [(a - b).flatten(1).norm(dim=1) for a, b in zip(moved, features, strict=True)]
    assert all(length.tolist() == pytest.approx([0.3] * 4, rel=1e-3) for length in lengths)
    for seed in range(3):
        torch.manual_seed(seed)
        random = [torch.randn_like(level) for level in features]
        units = [r / r.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for r in random]
        assert change(moved) > 2 * change([z + 0.3 * u for z, u in zip(features, units, strict=True)])


def test_cct_with_the_seven_kinds_of_the_paper():
    kinds = ["channel-dropout", "cutout", "adversarial", "context", "objects", "attention", "noise"]
    method = build("cct", perturbations=kinds, disturb="deepest", supervise="main", detach_main=True)
    batch = small_batch(method.task)
    step = method(batch, END)
    step.loss.backward()
    assert len(method.network.decoders) == 8 and step.logs["consistency"] > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("detach", [False, True])
def test_who_learns_by_the_consistency_of_cct(detach):
    method = build("cct", detach_main=detach, ce_weight=0, dice_weight=0, consistency=CONSTANT)
    names = touched(method, method(small_batch(method.task), END).loss)
    assert any(name.startswith("network.decoders.0") for name in names) != detach
    for part in ("encoder", "decoders.1", "decoders.2", "decoders.3"):
        assert any(name.startswith(f"network.{part}") for name in names)


def test_cct_in_space_with_the_benchmark_s_disturbances():
    """The deepest features of this patch have two voxels: of one, attention drop would take all."""
    torch.manual_seed(0)
    task = Task(3, 1, ("background", "a", "b", "c"), (32, 16, 16), (1.0,) * 3)
    method = build_method(task, MethodSection(name="cct"), small_network()).train()
    assert method.config.perturbations == ["noise", "dropout", "attention"]
    step = method(small_batch(task), END)
    step.loss.backward()
    assert step.loss.isfinite() and step.logs["consistency"] > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assert all(any(p.grad.any() for p in decoder.parameters()) for decoder in method.network.decoders)


def test_cct_refuses_a_network_without_decoders_of_its_own():
    with pytest.raises(ConfigError, match="diffusion-unet has no option 'decoders'"):
        build_method(small_task(), MethodSection(name="cct"), NetworkConfig(name="diffusion-unet"))


# -------------------------------------------------------------------------------------------------------------- urpc


def test_the_rectified_consistency_by_hand():
    """One voxel, two scales: p = (.6, .4) and (.8, .2), mean (.7, .3)."""
    scales = [torch.tensor(p, dtype=torch.float64)[None, :, None] for p in ([0.6, 0.4], [0.8, 0.2])]
    squares, divergence = rectified(scales)
    # Of one voxel the weight cancels; ((.1)^2 + (.1)^2) / 2 in either scale.
    assert squares.item() == pytest.approx(0.01, rel=1e-6)
    first = 0.7 * math.log(0.7 / 0.6) + 0.3 * math.log(0.3 / 0.4)
    second = 0.7 * math.log(0.7 / 0.8) + 0.3 * math.log(0.3 / 0.2)
    assert divergence.item() == pytest.approx((first + second) / 2, rel=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_urpc(dims):
    method = build("urpc", dims, consistency=CONSTANT)
    batch = small_batch(method.task)
    torch.manual_seed(3)
    scales = method.network.forward_all(batch.images).logits
    assert len(scales) == 4
    p = [0.99 * softmax(one[2:]) + 0.01 / 3 for one in scales]
    mean, total = np.mean(p, axis=0), 0.0
    for one in p:
        apart = (mean * np.log(mean / one)).sum(1, keepdims=True)
        weight = np.exp(-apart)
        total += (weight * (mean - one) ** 2).mean() / (weight.mean() + 1e-8) + apart.mean()
    torch.manual_seed(3)
    step = method(batch, END)
    assert step.logs["consistency"].item() == pytest.approx(total / 4, rel=1e-4)
    known = np.mean([supervised(one, batch.labels) for one in scales])
    assert step.loss.item() == pytest.approx(known + 0.7 * total / 4, rel=1e-5)
    assert step.logs["pseudo_foreground"].item() == pytest.approx(foreground(scales[0])), "of the full resolution"


def test_certain_scales_that_disagree_stay_finite():
    method = build("urpc")
    logits = torch.tensor([200.0, -200.0]).reshape(1, 2, 1)
    blended = [0.99 * z.softmax(1) + 0.005 for z in (logits, -logits)]
    assert all(part.isfinite() for part in rectified(blended))
    assert method.config.blend == 0.01


def test_the_published_network_of_urpc():
    method = build_method(small_task(3), MethodSection(name="urpc"), NetworkConfig())
    assert sum(p.numel() for p in method.parameters()) == 5_884_504
    with pytest.raises(ConfigError, match="vnet has no option 'pyramid'"):
        build_method(small_task(3), MethodSection(name="urpc"), NetworkConfig(name="vnet"))


# ----------------------------------------------------------------------------------------------- mc-net, mc-net-plus


def plain_dice(p, labels):
    """Of the foreground classes, plain denominator, pooled."""
    y = np.moveaxis(np.eye(p.shape[1])[labels.numpy()], -1, 1)
    over = (0, *range(2, p.ndim))
    return (1 - (2 * (p * y).sum(over) + 1e-5) / (p.sum(over) + y.sum(over) + 1e-5))[1:].mean()


@pytest.mark.parametrize("include_labelled", [True, False])
@pytest.mark.parametrize(("name", "count"), [("mc-net", 2), ("mc-net-plus", 3)])
def test_mutual_consistency(name, count, include_labelled):
    method = build(name, consistency=CONSTANT, include_labelled=include_labelled, temperature=0.4)
    batch = small_batch(method.task)
    logits = method.network.forward_all(batch.images).logits
    maps = [softmax(one) for one in logits]
    assert len(maps) == count
    known = 0.5 * sum(plain_dice(p[:2], batch.labels) for p in maps)
    seen = [p[0 if include_labelled else 2 :] for p in maps]
    sharp = [p**2.5 / (p**2.5 + (1 - p) ** 2.5) for p in seen]
    mutual = sum(((seen[k] - sharp[j]) ** 2).mean() for k in range(count) for j in range(count) if j != k)
    step = method(batch, END)
    assert step.logs["consistency"].item() == pytest.approx(mutual, rel=1e-4)
    assert step.loss.item() == pytest.approx(known + 0.7 * mutual, rel=1e-5)
    assert step.logs["pseudo_foreground"].item() == pytest.approx(foreground(logits[0]))


def test_where_the_release_of_mc_net_lets_gradients_pass():
    """Its targets come to meet the predictions: the gradient at a decoder's output is another one, the loss is not."""
    losses, gradients = [], []
    for released in (False, True):
        method = build("mc-net", dice_weight=0, consistency=CONSTANT, as_released=released)
        step = method(small_batch(method.task), END)
        step.loss.backward()
        losses.append(step.loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in method.network.decoders[0].outputs.parameters()]))
    assert losses[0] == losses[1]
    assert not torch.allclose(*gradients, rtol=0.1)


def test_the_gradient_of_a_detached_target_by_hand():
    """d/dz of mean (p - q)^2 with q held still, at the output convolution's bias of decoder 0."""
    method = build("mc-net", dice_weight=0, consistency={"weight": 1.0, "shape": "constant"})
    batch = small_batch(method.task)
    p, other = (softmax(logits) for logits in method.network.forward_all(batch.images).logits)
    q = other**10 / (other**10 + (1 - other) ** 10)
    towards = 2 * (p - q) / p.size
    wanted = (p * (towards - (towards * p).sum(1, keepdims=True))).sum((0, 2, 3))
    method(batch, END).loss.backward()
    np.testing.assert_allclose(method.network.decoders[0].outputs[0].bias.grad.numpy(), wanted, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("released", [False, True])
def test_the_gradient_of_mc_net_against_the_literal_targets(released):
    """The release's p^10 / (p^10 + (1 - p)^10) by autograd in float64, with and without its targets' gradient."""
    method = build("mc-net", dice_weight=0, consistency={"weight": 1.0, "shape": "constant"}, as_released=released)
    batch = small_batch(method.task)
    logits = [z.detach().double().requires_grad_() for z in method.network.forward_all(batch.images).logits]
    first, second = (z.softmax(1) for z in logits)
    sharp = [p**10 / (p**10 + (1 - p) ** 10) for p in (first, second)]
    sharp = sharp if released else [q.detach() for q in sharp]
    ((first - sharp[1]).square().mean() + (second - sharp[0]).square().mean()).backward()
    method(batch, END).loss.backward()
    for decoder, z in zip(method.network.decoders, logits, strict=True):
        found = decoder.outputs[0].bias.grad.double()
        torch.testing.assert_close(found, z.grad.sum((0, 2, 3)), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(("name", "size"), [("mc-net", 12_347_716), ("mc-net-plus", 15_246_566)])
def test_published_sizes_of_mutual_consistency(name, size):
    method = build_method(small_task(3), MethodSection(name=name), NetworkConfig())
    assert sum(p.numel() for p in method.parameters()) == size


def test_the_decoders_of_mc_net_are_a_setting():
    method = build("mc-net-plus", decoders=["linear", "transposed", "nearest", "cubic"], predict_with="mean")
    image = small_batch(method.task).images
    maps = [softmax(logits) for logits in method.network.forward_all(image).logits]
    assert len(maps) == 4
    np.testing.assert_allclose(method.predictor().eval()(image).detach().numpy(), np.mean(maps, axis=0), atol=1e-6)
    with pytest.raises(ConfigError, match="cubic upsampling exists for 2D images only"):
        build("mc-net", 3, decoders=["linear", "cubic"])


# ------------------------------------------------------------------------------------------------------------ ml-rpl


def test_the_reliability_by_hand():
    """Two voxels a class: features (2, 0), (1, 1) labelled 0 and (0, 1), (0, 3) labelled 1, so q_0 ~ (3, 1), q_1 = (0, 1)."""
    features = torch.tensor([[[2.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 3.0]]])
    p = torch.tensor([[[0.9, 0.6, 0.2, 0.1], [0.1, 0.4, 0.8, 0.9]]])
    to_first = [3 / math.sqrt(10), 4 / math.sqrt(20), 1 / math.sqrt(10), 1 / math.sqrt(10)]
    to_second = [0.0, 1 / math.sqrt(2), 1.0, 1.0]
    wanted = [
        1 - ((a - x) ** 2 + (b - y) ** 2) / 2
        for a, b, x, y in zip(to_first, to_second, p[0, 0].tolist(), p[0, 1].tolist(), strict=True)
    ]
    torch.testing.assert_close(reliability(features, p)[0], torch.tensor(wanted))


def test_an_absent_class_is_like_nothing():
    features, p = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.9, 0.8], [0.1, 0.2]]])
    wanted = [1 - (0.1**2 + 0.1**2) / 2, 1 - (0.2**2 + 0.2**2) / 2]
    torch.testing.assert_close(reliability(features, p)[0], torch.tensor(wanted))


def test_prototypes_belong_to_one_image():
    torch.manual_seed(0)
    features, p = torch.rand(2, 4, 6, 5), torch.rand(2, 3, 6, 5).softmax(1)
    both = reliability(features, p)
    for n in range(2):
        torch.testing.assert_close(both[n : n + 1], reliability(features[n : n + 1], p[n : n + 1]))
    assert (both >= 0).all() and (both <= 1).all()


def test_only_the_surer_one_is_heard():
    """Logits (0, z): |z| of 1, 3, 2 against 2, 1, 2: the first voxel alone has a surer teacher; the third is a tie."""
    student, teacher = (torch.stack([torch.zeros(3), torch.tensor(z)])[None] for z in ([1.0, 3, 2], [-2.0, 1, 2]))
    trust = torch.tensor([[0.5, 0.9, 0.9]])
    wanted = 0.5 * math.log(1 + math.e)  # the teacher's label is 0
    assert learn_from_surer(student, teacher, trust).item() == pytest.approx(wanted, rel=1e-5)
    assert learn_from_surer(teacher.neg(), teacher, trust) == 0, "as sure as the student: nobody learns"


@pytest.mark.parametrize("include_labelled", [True, False])
def test_ml_rpl(include_labelled):
    method = build(
        "ml-rpl", consistency=CONSTANT, decoders=["transposed", "nearest"], include_labelled=include_labelled
    )
    batch, start = small_batch(method.task), 0 if include_labelled else 2
    output = method.network.forward_all(batch.images)
    maps = [softmax(logits) for logits in output.logits]
    known = 0.5 * sum(plain_dice(p[:2], batch.labels) for p in maps)
    mutual = 0.0
    for i, j in ((0, 1), (1, 0)):
        mine, theirs = maps[i][start:], maps[j][start:]
        doubts = [-(p * np.log(p + 1e-6)).sum(1) for p in (mine, theirs)]
        mask = doubts[0] > doubts[1]
        tap = output.taps["last" if j == 0 else "last.1"][start:]
        trust = reliability(tap, torch.from_numpy(theirs).float()).detach().numpy()
        ce = -np.log(np.take_along_axis(mine, theirs.argmax(1)[:, None], 1)[:, 0])
        mutual += (trust * mask * ce).sum() / (mask.sum() + 1e-6)
        assert 0 < mask.mean() < 1
    step = method(batch, END)
    assert step.logs["consistency"].item() == pytest.approx(mutual, rel=1e-4)
    assert step.loss.item() == pytest.approx(known + 0.7 * mutual, rel=1e-5)


@pytest.mark.parametrize(
    ("decoders", "size"), [(["transposed", "nearest"], 12_347_716), (["transposed", "linear", "nearest"], 15_246_566)]
)
def test_published_sizes_of_ml_rpl(decoders, size):
    method = build_method(small_task(3), MethodSection(name="ml-rpl", decoders=decoders), NetworkConfig())
    assert sum(p.numel() for p in method.parameters()) == size
