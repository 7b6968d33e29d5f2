from __future__ import annotations

import numpy as np
import pytest
import torch

from fewmask.components.losses import (
    cross_pseudo_loss,
    dice_loss,
    masked_mean,
    one_hot,
    softmax_mse,
    supervised_loss,
)

PLAIN = {"squared": False, "per_sample": True}


def random_logits(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def softmax(values):
    values = np.asarray(values, dtype=np.float64)
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def cross_entropy(logits, labels):
    """Mean over voxels of ``-ln p`` of the label's class, in float64."""
    chosen = np.take_along_axis(softmax(logits), np.asarray(labels)[:, None], 1)
    return -np.log(chosen).mean()


def dice_terms(probabilities, labels, smooth=1e-5):
    """One loss a class, by a loop over classes."""
    terms = []
    for k in range(probabilities.shape[1]):
        p, y = probabilities[:, k].ravel(), (np.asarray(labels) == k).ravel().astype(np.float64)
        terms.append(1 - (2 * (p * y).sum() + smooth) / ((p**2).sum() + (y**2).sum() + smooth))
    return terms


def test_one_hot_puts_the_class_axis_second():
    labels = torch.tensor([[0, 2], [1, 0]])[None]
    assert one_hot(labels, 3).shape == (1, 3, 2, 2)
    assert one_hot(labels, 3)[0, 2].tolist() == [[0, 1], [0, 0]]
    assert one_hot(labels, 3).dtype == torch.float32


def test_dice_loss_by_hand():
    # Foreground: overlap 0.5 + 1 = 1.5, sizes 0.25 + 1 + 0.25 = 1.5 and 2; background: overlap 0.5, sizes 0.5 and 1.
    p = torch.tensor([[[0.5, 0.0, 0.5], [0.5, 1.0, 0.5]]])
    y = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]])
    foreground, background = 1 - 3 / 3.5, 1 - 1 / 1.5
    assert dice_loss(p, y, background=False).item() == pytest.approx(foreground, abs=1e-5)
    assert dice_loss(p, y).item() == pytest.approx((foreground + background) / 2, abs=1e-5)


def test_both_dice_losses_and_the_cross_entropy_of_four_voxels():
    foreground = torch.tensor([0.9, 0.2, 0.6, 0.3])
    p, labels = torch.stack([1 - foreground, foreground])[None], torch.tensor([[1, 0, 1, 0]])
    assert dice_loss(p, one_hot(labels, 2), squared=False).item() == pytest.approx(0.25, abs=1e-5)
    assert dice_loss(p, one_hot(labels, 2), squared=False, background=False).item() == pytest.approx(0.25, abs=1e-5)
    assert dice_loss(p, one_hot(labels, 2), background=False).item() == pytest.approx(0.090909, abs=1e-5)
    ce, dice = supervised_loss(p.log(), labels, squared=False)
    assert ce.item() == pytest.approx(0.299001, abs=1e-6)
    assert dice.item() == pytest.approx(0.25, abs=1e-5)


def test_dice_loss_of_an_absent_class_is_finite():
    p = torch.zeros(1, 3, 4)
    p[:, 0] = 1
    assert dice_loss(p, one_hot(torch.zeros(1, 4, dtype=torch.int64), 3)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 4, 3, 5), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize("background", [True, False])
def test_supervised_loss_against_float64(shape, background):
    logits = random_logits(shape)
    labels = torch.randint(shape[1], (shape[0], *shape[2:]), generator=torch.Generator().manual_seed(1))
    ce, dice = supervised_loss(logits, labels, background=background)
    assert ce.item() == pytest.approx(cross_entropy(logits, labels), rel=1e-5)
    terms = dice_terms(softmax(logits), labels)
    assert dice.item() == pytest.approx(np.mean(terms if background else terms[1:]), rel=1e-5)


def test_supervised_loss_of_half_precision_logits_is_float32():
    logits = random_logits((1, 2, 4, 4)).bfloat16()
    ce, dice = supervised_loss(logits, torch.zeros(1, 4, 4, dtype=torch.int64))
    assert ce.dtype == dice.dtype == torch.float32


def test_softmax_mse_is_unreduced_and_has_no_gradient_to_the_target():
    mine, target = random_logits((2, 3, 4)).requires_grad_(), random_logits((2, 3, 4), 1).requires_grad_()
    values = softmax_mse(mine, target)
    expected = (softmax(mine.detach()) - softmax(target.detach())) ** 2
    np.testing.assert_allclose(values.detach().numpy(), expected, atol=1e-6)
    values.sum().backward()
    assert mine.grad.abs().sum() > 0
    assert target.grad is None


def test_masked_mean_divides_by_classes_times_voxels():
    values = torch.arange(8.0).reshape(1, 2, 4)
    mask = torch.tensor([[[True, False, False, True]]])
    assert masked_mean(values, mask).item() == pytest.approx((0 + 3 + 4 + 7) / 4)
    assert masked_mean(values, torch.zeros_like(mask)).item() == 0
    assert masked_mean(values, torch.ones_like(mask)).item() == pytest.approx(values.mean().item())


def test_cross_pseudo_loss_against_float64():
    first, second = random_logits((2, 3, 5)), random_logits((2, 3, 5), 1)
    expected = cross_entropy(first, second.argmax(1)) + cross_entropy(second, first.argmax(1))
    assert cross_pseudo_loss(first, second).item() == pytest.approx(expected, rel=1e-5)


def test_no_gradient_flows_into_the_pseudo_labels():
    """The gradient is ``(softmax - one hot of the other's argmax) / voxels``: nothing comes through the other term."""
    first, second = random_logits((1, 3, 5)).requires_grad_(), random_logits((1, 3, 5), 1).requires_grad_()
    cross_pseudo_loss(first, second).backward()
    for mine, other in [(first, second), (second, first)]:
        wanted = (mine.softmax(1) - one_hot(other.argmax(1), 3)).detach() / 5
        torch.testing.assert_close(mine.grad, wanted)


def test_dice_per_sample_of_a_background_only_image():
    """Both terms count, though the batch holds one class: 25 / 126 and 25 / 26."""
    logits, labels = torch.zeros(1, 2, 10, 10), torch.zeros(1, 10, 10, dtype=torch.int64)
    both = dice_loss(logits.softmax(1), one_hot(labels, 2), smooth=1.0, per_sample=True)
    assert both.item() == pytest.approx((0.198413 + 0.961538) / 2, abs=1e-6)
    foreground = dice_loss(logits.softmax(1), one_hot(labels, 2), smooth=1.0, per_sample=True, background=False)
    assert foreground.item() == pytest.approx(0.961538, abs=1e-6)


def test_dice_per_sample_is_the_mean_over_samples():
    p = random_logits((3, 2, 5, 4)).softmax(1)
    y = one_hot(torch.arange(60).reshape(3, 5, 4) % 2, 2)
    each = [dice_loss(p[n : n + 1], y[n : n + 1], smooth=1.0) for n in range(3)]
    assert dice_loss(p, y, smooth=1.0, per_sample=True).item() == pytest.approx(sum(map(float, each)) / 3)


def test_dice_of_each_sample_by_hand():
    whole, half = torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    left = torch.zeros(1, 1, 4, 4)
    left[..., :2] = 1
    assert float(dice_loss(left, left, **PLAIN)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(left, 1 - left, **PLAIN)) > 0.9999
    assert float(dice_loss(half, whole, **PLAIN)) == pytest.approx(1 / 3, abs=1e-5)
    assert float(dice_loss(half, half, **PLAIN)) == pytest.approx(0.5, abs=1e-5)
    assert float(dice_loss(half, half, per_sample=True)) == pytest.approx(0, abs=1e-5)
    empty = torch.zeros_like(left)
    assert float(dice_loss(empty, empty, **PLAIN)) == 0.0
    unequal = torch.cat([left, empty]), torch.cat([whole, empty])
    assert float(dice_loss(*unequal, **PLAIN)) == pytest.approx((1 - 16 / 24) / 2, abs=1e-5), "samples, not their pool"


def test_dice_where_pixels_count():
    truth, counts = torch.tensor([[[[1.0, 1.0, 0.0]]]]), torch.tensor([[[[1.0, 0.0, 1.0]]]])
    found = torch.tensor([[[[1.0, 0.0, 0.0]]]], requires_grad=True)
    loss = dice_loss(found, truth, counts=counts, **PLAIN)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert found.grad[..., 1] == 0
