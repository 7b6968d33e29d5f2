"""Classes as greys: the way there and back is exact."""

from __future__ import annotations

import math

import pytest
import torch

from fewmask.components.mask_codes import MaskCode, MaskCodeConfig, confident_part, largest_components
from fewmask.config import validate
from fewmask.errors import ConfigError, FewmaskWarning

SIZES = range(2, 9)


def labels_of(classes, seed=0):
    labels = torch.randint(classes, (2, 12, 10), generator=torch.Generator().manual_seed(seed))
    labels.flatten()[:classes] = torch.arange(classes)
    return labels


@pytest.mark.parametrize("classes", SIZES)
@pytest.mark.parametrize(
    "settings", [{}, {"divisor": "k"}, {"membership": "soft_distance"}, {"clip": "straight_through"}, {"order": True}]
)
def test_the_way_there_and_back_is_exact(classes, settings):
    settings = {"class_order": tuple(reversed(range(classes)))} if "order" in settings else settings
    code, labels = MaskCode(classes, MaskCodeConfig(**settings)), labels_of(classes)
    image = code.to_image(labels)
    assert image.shape == (2, 3, 12, 10)
    assert torch.equal(image[:, 0], image[:, 1]) and torch.equal(image[:, 0], image[:, 2])
    assert torch.equal(code.to_labels(image), labels)
    if "class_order" not in settings:
        torch.testing.assert_close(code.to_level(image), labels.float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("classes", "divisor", "greys"),
    [
        (2, "k_minus_1", [-1, 1]),
        (3, "k_minus_1", [-1, 0, 1]),
        (5, "k_minus_1", [-1, -0.5, 0, 0.5, 1]),
        (2, "k", [-1, 0]),
        (3, "k", [-1, -1 / 3, 1 / 3]),
    ],
)
def test_greys(classes, divisor, greys):
    code = MaskCode(classes, MaskCodeConfig(divisor=divisor))
    torch.testing.assert_close(code.to_image(torch.arange(classes)[None])[0, 0], torch.tensor(greys).float())


@pytest.mark.parametrize("classes", SIZES)
def test_errors_up_to_half_a_step_are_forgiven_and_larger_ones_are_not(classes):
    code, labels = MaskCode(classes), labels_of(classes)
    image, half = code.to_image(labels), 1 / (classes - 1)
    noise = (torch.rand(2, 1, 12, 10, generator=torch.Generator().manual_seed(1)) * 2 - 1) * 0.98 * half
    assert torch.equal(code.to_labels(image + noise), labels)
    wrong = code.to_labels(image + 1.05 * half)
    assert (wrong != labels)[labels < classes - 1].all()
    assert (wrong == labels)[labels == classes - 1].all()


def test_memberships_by_hand():
    level = torch.tensor([[0.0, 0.3, 1.0, 1.75, 2.0]])
    wanted = torch.tensor([[1, 0.7, 0, 0, 0], [0, 0.3, 1, 0.25, 0], [0, 0, 0, 0.75, 1]])
    torch.testing.assert_close(MaskCode(3).memberships(level)[0], wanted)
    ordered = MaskCode(3, MaskCodeConfig(class_order=(2, 0, 1))).memberships(level)[0]
    torch.testing.assert_close(ordered, wanted[[1, 2, 0]], msg="class 0 has level 1, class 1 level 2, class 2 level 0")
    soft = MaskCode(2, MaskCodeConfig(membership="soft_distance")).memberships(torch.tensor([[0.5, 0.75]]))[0]
    torch.testing.assert_close(soft[1], torch.sigmoid(torch.tensor([0.0, 2.0])))  # (0.75^2 - 0.25^2) / 0.25 = 2


@pytest.mark.parametrize("classes", SIZES)
@pytest.mark.parametrize("membership", ["hat", "soft_distance"])
def test_memberships_sum_to_one_for_any_image(classes, membership):
    code = MaskCode(classes, MaskCodeConfig(membership=membership))
    shares = code.memberships(code.to_level(torch.randn(2, 3, 9, 9) * 2))
    assert (shares >= 0).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 9, 9))


def test_clipping_stops_the_gradient_or_lets_it_pass():
    for clip, wanted in (("hard", [0.0, 0.5]), ("straight_through", [0.5, 0.5])):
        image = torch.tensor([1.5, 0.2]).reshape(1, 1, 1, 2).repeat(1, 3, 1, 1).requires_grad_()
        level = MaskCode(2, MaskCodeConfig(clip=clip)).to_level(image)
        torch.testing.assert_close(level.detach(), torch.tensor([[[1.0, 0.6]]]))
        level.sum().backward()
        torch.testing.assert_close(image.grad.sum(1)[0, 0], torch.tensor(wanted))


def shares_of(foreground):
    p = torch.tensor(foreground)
    return torch.stack([1 - p, p])[None]


def test_sure_labels_of_two_classes():
    shares = shares_of([[0.9330, 0.9331, 0.95, 0.4, 0.99], [0.2, 0.2, 0.2, 0.2, 0.2]])
    target, counts = confident_part(shares)
    assert target[0, 1].tolist() == [[0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], "two pixels beat one"
    assert counts.all(), "what is not sure is background"
    empty, _ = confident_part(shares_of([[0.1, 0.5]]))
    assert not empty[0, 1].any()


def test_sure_labels_of_three_classes_leave_out_the_rest():
    shares = torch.tensor([[1.0, 0.06, 0.0, 0.5], [0.0, 0.94, 0.07, 0.5], [0.0, 0.0, 0.93, 0.0]])[None, :, None]
    target, counts = confident_part(shares)
    assert counts[0, 0, 0].tolist() == [1, 1, 0, 0]
    assert target[0].argmax(0)[0, :2].tolist() == [0, 1]


def test_the_largest_component_of_each_class_and_image():
    first = torch.tensor([[1, 1, 0, 2], [0, 0, 0, 0], [1, 0, 2, 2]])
    labels = torch.stack([first, torch.zeros_like(first)])
    kept = largest_components(labels, 3)
    assert kept[0].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 2, 2]]
    assert not kept[1].any()


# ------------------------------------------------------------------------------------------------------------ palette

COLOURED = MaskCodeConfig(mode="palette")


@pytest.mark.parametrize("classes", SIZES)
def test_a_colour_is_its_class_up_to_an_error_of_one(classes):
    code, labels = MaskCode(classes, COLOURED), labels_of(classes)
    image = code.to_image(labels)
    assert image.shape == (2, 3, 12, 10)
    assert image.abs().min() == image.abs().max() == 1
    noise = (torch.rand(image.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1) * 0.98
    assert torch.equal(code.to_labels(image + noise), labels)
    assert (code.to_labels(image - 2.1 * image.sign()) != labels).all()
    shares = code.shares(image + noise)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 12, 10))


def test_two_colours_decide_as_two_greys_do():
    image = torch.randn(4, 3, 50, 50, generator=torch.Generator().manual_seed(0))
    coloured, grey = (MaskCode(2, config).to_labels(image) for config in (COLOURED, MaskCodeConfig()))
    assert torch.equal(coloured, grey)
    assert 0.4 < grey.float().mean() < 0.6


def test_shares_of_colours_by_hand():
    """Black, white and red seen at (0.5, -1, -1): squared distances 2.25, 8.25 and 0.25."""
    shares = MaskCode(3, COLOURED).shares(torch.tensor([0.5, -1.0, -1.0]).reshape(1, 3, 1, 1))
    powers = torch.tensor([math.exp(-d / 0.25) for d in (2.25, 8.25, 0.25)])
    torch.testing.assert_close(shares.flatten(), powers / powers.sum())


def test_an_edge_of_colours_has_no_rim():
    """From class 0 to class 2 greys pass class 1, colours do not."""
    edge = torch.linspace(0, 1, 21)[None, None, None]
    for code, between in ((MaskCode(3), {0, 1, 2}), (MaskCode(3, COLOURED), {0, 2})):
        first, last = code.to_image(torch.tensor([[[0, 2]]])).split(1, dim=3)
        assert set(code.to_labels(first + (last - first) * edge).flatten().tolist()) == between


def test_more_classes_than_greys_can_tell_apart():
    with pytest.warns(FewmaskWarning, match=r"no more than 0\.12 of the range"):
        MaskCode(9)


def test_an_order_must_name_every_class():
    with pytest.raises(ConfigError, match="must name every class once"):
        validate(MaskCodeConfig, {"class_order": [0, 2]}, "codes")
