"""Who learns what from which half of the batch."""

from __future__ import annotations

import pytest
import torch

from fewmask.components.agreement import confident_mask, cosine_loss, disagreement_loss, rectified_loss
from fewmask.components.losses import one_hot
from fewmask.components.prototypes import prototype_contrast, reliable_voxels
from fewmask.components.pseudo_labels import (
    confident_labels,
    entropy_filtered_loss,
    pseudo_label_loss,
    uncertain_voxels,
)
from fewmask.config import MethodSection
from fewmask.errors import ConfigError
from fewmask.methods import Progress, build_method, method_config
from toys import small_batch, small_network, small_task

NAME = "uncertainty-dual-network"
OFF = {"weight": 0.0}
NOTHING = {"ce_weight": 0, "dice_weight": 0, "cr_weight": 0, "cps": OFF, "efs": OFF, "ue": OFF, "contrast": OFF}
ON = {
    "cr": {"cr_weight": 1.0, "confidence": 0.45},
    **{name: {name: {"weight": 1.0, "shape": "constant"}} for name in ("cps", "efs", "ue", "contrast")},
}
END = Progress(99, 100)


def build(dims=2, classes=2, **settings):
    torch.manual_seed(0)
    section = MethodSection(name=NAME, **settings)
    return build_method(small_task(dims, classes), section, small_network()).train()


def moved(network):
    return sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("term", ON)
@pytest.mark.parametrize("classes", [2, 4])
def test_who_learns_by_a_term(term, classes):
    method = build(classes=classes, **(NOTHING | ON[term]))
    step = method(small_batch(method.task), END)
    assert step.loss.item() > 0
    step.loss.backward()
    assert moved(method.first) > 0
    assert (moved(method.second) > 0) == (term != "ue"), "the second network is the teacher of L_UE"


@pytest.mark.parametrize("term", ON)
def test_which_half_a_term_sees(term):
    method = build(**(NOTHING | ON[term]))
    batch, other = small_batch(method.task), small_batch(method.task, seed=7)
    values = []
    for labelled, unlabelled in ((batch, batch), (batch, other), (other, batch)):
        torch.manual_seed(0)
        batch_now = small_batch(method.task)
        batch_now.labelled, batch_now.labels = labelled.labelled, labelled.labels
        batch_now.unlabelled = unlabelled.unlabelled
        values.append(float(method(batch_now, END).logs[term]))
    assert (values[0] != values[1]) == (term != "cr")
    assert (values[0] != values[2]) == (term in ("cr", "ue"))


def test_the_contrast_leaves_the_output_convolutions_alone():
    method = build(**(NOTHING | ON["contrast"]))
    method(small_batch(method.task), END).loss.backward()
    for network in (method.first, method.second):
        output = network.decoders[0].output
        assert all(p.grad is None or not p.grad.any() for p in output.parameters())
        assert moved(network.encoder) > 0


@pytest.mark.parametrize(("direction", "learns"), [("second_from_first", [0, 1]), ("symmetric", [1, 1])])
def test_other_directions_of_the_rectified_loss(direction, learns):
    method = build(**(NOTHING | ON["ue"] | {"ue_direction": direction}))
    method(small_batch(method.task), END).loss.backward()
    assert [int(moved(network) > 0) for network in (method.first, method.second)] == learns


def test_the_whole_loss_is_the_sum_of_its_terms():
    method = build(classes=4)
    batch = small_batch(method.task)
    first, second = (network.forward_all(batch.images) for network in (method.first, method.second))
    z, w = first.logits[0], second.logits[0]
    parts = [method.supervised(one[:2], batch.labels).loss for one in (z, w)]
    p, q = z.softmax(1), w.softmax(1)
    parts.append(0.5 * disagreement_loss(p[:2], q[:2], confident_mask(p[:2], q[:2], 0.6)))
    parts.append(pseudo_label_loss(z[2:], w[2:], confident_labels(p[2:], 0.6), confident_labels(q[2:], 0.6)))
    parts.append(entropy_filtered_loss(z[2:], w[2:], uncertain_voxels(z[2:], w[2:], 70)[0]))
    parts.append(rectified_loss(z, w, 0.5))
    torch.manual_seed(5)
    reliable = reliable_voxels(z[2:], w[2:], 70)
    contrast = [
        prototype_contrast(out.taps["last"][2:], out.logits[0][2:].argmax(1), reliable, 4) for out in (first, second)
    ]
    parts.append(0.0286505 * (contrast[0] + contrast[1]) / 2)
    torch.manual_seed(5)
    step = method(batch, Progress(50, 100))
    assert step.loss.item() == pytest.approx(sum(part.item() for part in parts), rel=1e-5)


def test_what_the_release_trains():
    """Cross-entropy and contrast of the unlabelled half are logged and teach nothing."""
    method = build(as_released=True)
    batch = small_batch(method.task)
    torch.manual_seed(5)
    step = method(batch, END)
    z, w = method.first(batch.images), method.second(batch.images)
    p, q, truth = z.softmax(1), w.softmax(1), one_hot(batch.labels, 2)
    mask = confident_mask(p[:2], q[:2], 0.6)
    wanted = method.supervised(z[:2], batch.labels).loss + method.supervised(w[:2], batch.labels).loss
    wanted = wanted + 0.5 * (disagreement_loss(p[:2], truth, mask) + disagreement_loss(q[:2], truth, mask))
    wanted = wanted + rectified_loss(z, w, hard=True) + cosine_loss(p, q)
    assert step.loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert {"efs", "contrast"} <= step.logs.keys()
    assert "cps" not in step.logs


@pytest.mark.parametrize("term", ["efs", "contrast"])
def test_the_released_terms_pass_no_gradient(term):
    for released in (True, False):
        method = build(**(NOTHING | ON[term] | {"as_released": released, "ue": OFF}))
        step = method(small_batch(method.task), END)
        assert step.logs[term] > 0
        assert (float(step.loss.detach()) >= float(step.logs[term])) is not released


def test_networks_are_unlike_and_both_predict():
    method = build(dims=3)
    counts = [sum(p.numel() for p in network.parameters()) for network in (method.first, method.second)]
    assert counts[0] > 1.5 * counts[1]
    image = small_batch(method.task).images
    mean = method.eval().predictor()(image)
    each = [build_predictor(method, which)(image) for which in ("first", "second")]
    torch.testing.assert_close(mean, (each[0] + each[1]) / 2)


def build_predictor(method, which):
    method.config = method.config.model_copy(update={"predict_with": which})
    return method.predictor().eval()


def test_settings_out_of_range_are_refused():
    for wrong in ({"percentile": 101}, {"confidence": 0}, {"temperature": 0}, {"partner": "resnet"}):
        with pytest.raises(ConfigError):
            build(**wrong)
    with pytest.raises(ConfigError, match="did you mean 'percentile'"):
        method_config(MethodSection(name=NAME, percentil=30))


def test_half_a_ramp_keeps_the_other_half_of_the_methods_default():
    config = method_config(MethodSection(name=NAME, cps={"shape": "gaussian"}))
    assert (config.cps.shape, config.cps.weight) == ("gaussian", 1.0)
    assert config.efs == method_config(MethodSection(name=NAME)).efs
