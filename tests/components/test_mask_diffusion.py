"""Masks as signals, pathways that agree on classes, reconstruction and rounds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fewmask.components.mask_diffusion import (
    MaskDiffusion,
    MaskPathway,
    Pathways,
    RoundsConfig,
    noisy_start,
    signed,
)
from fewmask.diffusion import NoiseSchedule, ScheduleConfig

SCHEDULE = NoiseSchedule(ScheduleConfig().betas())


class Recording(nn.Module):
    """A network of one 1x1 convolution that keeps what it was asked."""

    def __init__(self, channels, out):
        super().__init__()
        self.conv, self.asked = nn.Conv2d(channels, out, 1), []

    def forward(self, x, t):
        self.asked.append((x.detach().clone(), t))
        return self.conv(x)


def model(channels=1, classes=3):
    torch.manual_seed(0)
    mask = MaskPathway(Recording(classes + channels, classes), classes)
    return Pathways(mask, Recording(classes + channels, channels))


def image(channels=1, count=4):
    return torch.randn((count, channels, 16, 16), generator=torch.Generator().manual_seed(1))


# -------------------------------------------------------------------------------------------------------------- masks


def test_masks_for_the_image_pathway():
    logits = torch.tensor([2.0, 0.0, -1.0]).reshape(1, 3, 1, 1).requires_grad_()
    p = logits.softmax(1)
    torch.testing.assert_close(signed(logits), 2 * p - 1)
    assert signed(logits, "raw") is logits
    hard = signed(logits, "argmax_st")
    torch.testing.assert_close(hard.flatten(), torch.tensor([1.0, -1.0, -1.0]))
    (straight,) = torch.autograd.grad(hard[:, 0].sum(), logits)
    (soft,) = torch.autograd.grad(signed(logits)[:, 0].sum(), logits)
    torch.testing.assert_close(straight, soft)


@pytest.mark.parametrize(
    ("start", "clean"), [("zero", (0, 0, 0)), ("background", (1, -1, -1)), ("minus_one", (-1, -1, -1))]
)
def test_noise_is_added_to_no_mask(start, clean):
    noise, t = torch.randn(2, 3, 8, 8), torch.tensor([0, 700])
    noisy = noisy_start(SCHEDULE, noise, t, start)
    share = SCHEDULE.retained[t + 1].float().reshape(2, 1, 1, 1)
    wanted = share.sqrt() * torch.tensor(clean).reshape(1, 3, 1, 1) + (1 - share).sqrt() * noise
    torch.testing.assert_close(noisy, wanted)
    assert noisy_start(SCHEDULE, noise, t, "unit") is noise


def test_reordered_channels_are_the_same_classes_to_everyone():
    """Weights in another channel order, and the order that undoes it, are the same model."""
    plain, turned = model(), model()
    order = torch.tensor([2, 0, 1])  # channel order[c] of the turned model is class c
    with torch.no_grad():
        for mine, theirs in (
            (turned.mask.network.conv, plain.mask.network.conv),
            (turned.image.conv, plain.image.conv),
        ):
            at = 0 if mine is turned.mask.network.conv else 1  # masks come first in the one, last in the other
            mine.weight[:, at + order] = theirs.weight[:, at : at + 3]
        turned.mask.network.conv.weight[order] = turned.mask.network.conv.weight.clone()
        turned.mask.network.conv.bias[order] = plain.mask.network.conv.bias
    turned.mask.order.copy_(order)
    x, mask, t = image(), torch.randn(4, 3, 16, 16), torch.arange(4)
    torch.testing.assert_close(turned.mask(x, mask, t), plain.mask(x, mask, t))
    torch.testing.assert_close(turned.noise(x, mask, t), plain.noise(x, mask, t))
    assert torch.equal(plain.mask.network.asked[0][0], torch.cat([mask, x], 1)), "mask before image"
    assert torch.equal(plain.image.asked[0][0], torch.cat([x, mask], 1)), "image before mask"


# ----------------------------------------------------------------------------------------------------- reconstruction


class Knowing(nn.Module):
    """An image pathway that sees the true noise, if it is told the image."""

    def __init__(self, clean):
        super().__init__()
        self.clean, self.asked = clean, []

    def forward(self, x, t):
        self.asked.append(t)
        return SCHEDULE.noise_from_clean(x[:, : self.clean.shape[1]], self.clean, t)


@pytest.mark.parametrize("space", ["noise", "image"])
@pytest.mark.parametrize("channels", [1, 3])
def test_who_knows_the_noise_gets_the_image_back(space, channels):
    clean = image(channels)
    knowing = Pathways(model(channels).mask, Knowing(clean))
    diffusion = MaskDiffusion(SCHEDULE, 3, space=space)
    for _ in range(5):
        loss, rebuilt = diffusion.reconstruct(knowing, clean, torch.zeros(4, 3, 16, 16))
        assert loss.item() < 1e-6
        torch.testing.assert_close(rebuilt, clean, atol=1e-3, rtol=0)


def test_an_error_in_the_noise_is_an_error_in_the_image():
    """(i - i')^2 = (1 / A_t - 1) (nu - nu')^2."""
    losses, one = [], model()
    for space in ("noise", "image"):
        torch.manual_seed(4)
        diffusion = MaskDiffusion(SCHEDULE, 3, space=space)
        losses.append(diffusion.reconstruct(one, image(count=1), torch.zeros(1, 3, 16, 16))[0])
    torch.manual_seed(4)
    share = float(SCHEDULE.share(SCHEDULE.draw(1)))
    assert losses[1].item() == pytest.approx((1 / share - 1) * losses[0].item(), rel=1e-3)


def test_steps_are_drawn_from_the_whole_range_or_up_to_the_largest():
    found = {}
    for t_max in (None, 250):
        knowing = Pathways(model().mask, Knowing(image(count=64)))
        diffusion = MaskDiffusion(SCHEDULE, 3, t_max=t_max)
        for _ in range(150):
            diffusion.reconstruct(knowing, image(count=64), torch.zeros(64, 3, 16, 16))
        found[t_max] = torch.cat(knowing.image.asked)
        masks = torch.cat([diffusion.draw(image(count=64)).t for _ in range(150)])
        assert (int(masks.min()), int(masks.max())) == (0, 999), "where a mask starts is not limited"
    assert [int(t.max()) for t in found.values()] == [999, 249]
    assert [int(t.min()) for t in found.values()] == [0, 0]
    assert len(found[None][:64].unique()) > 50, "each sample has its own"


def test_a_pure_image_pathway_sees_noise_alone():
    one = model()
    diffusion = MaskDiffusion(SCHEDULE, 3, space="image")
    for pure in (True, False):
        torch.manual_seed(2)
        diffusion.cycle(one, 100 + image(), pure=pure)
    seen = [asked[0][:, :1].mean().item() for asked in one.image.asked]
    assert abs(seen[0]) < 0.2 < 10 < seen[1]


# ------------------------------------------------------------------------------------------------------------- rounds


def test_a_round_clips_to_the_range_of_each_image():
    one, clean = model(), image() * torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1)
    for clip in (True, False):
        for _ in range(4):
            MaskDiffusion(SCHEDULE, 3).round(one, clean, torch.zeros(4, 3, 16, 16), RoundsConfig(clip=clip))
    seen = torch.stack([asked[0][:, 3:] for asked in one.mask.network.asked])
    low, high = clean.amin((1, 2, 3), keepdim=True), clean.amax((1, 2, 3), keepdim=True)
    assert (seen[:4] >= low).all() and (seen[:4] <= high).all()
    assert (seen[:4] == high).any(), "the limit is reached"
    assert (seen[4:] > high).any()


@pytest.mark.parametrize("detach", [True, False])
def test_who_learns_in_a_round(detach):
    for part, learns in (("mask", (True, not detach)), ("loss", (not detach, True))):
        one = model()
        before = one.mask(image(), torch.zeros(4, 3, 16, 16), torch.arange(4))
        found, loss = MaskDiffusion(SCHEDULE, 3).round(one, image(), before, RoundsConfig(detach=detach))
        (found.square().mean() if part == "mask" else loss).backward()
        grads = [pathway.conv.weight.grad for pathway in (one.mask.network, one.image)]
        assert [grad is not None and bool(grad.any()) for grad in grads] == list(learns), part


@pytest.mark.parametrize("track", [True, False])
def test_rounds_leave_no_trace_in_running_statistics_unless_asked(track):
    one = model()
    one.mask.network.conv = nn.Sequential(one.mask.network.conv, nn.BatchNorm2d(3))
    MaskDiffusion(SCHEDULE, 3).round(one, image(), torch.zeros(4, 3, 16, 16), RoundsConfig(track=track))
    assert bool(one.mask.network.conv[1].running_mean.any()) == track
