"""Label maps as signals, outputs as clean signals, and the network that predicts by denoising."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fewmask.diffusion import DiffusionPredictor, LabelDiffusion, LabelDiffusionConfig
from fewmask.inference.engines import accelerate
from fewmask.inference.export import export_program
from fewmask.inference.sliding_window import sliding_window

LABELS = torch.tensor([[[0, 2], [1, 1]], [[2, 2], [0, 1]]])


def diffusion(**settings):
    return LabelDiffusion(LabelDiffusionConfig(**settings))


@pytest.mark.parametrize("scale", [(-1.0, 1.0), (0.0, 1.0), (-2.0, 3.0)])
def test_labels_are_scaled_before_noise_is_added(scale):
    torch.manual_seed(0)
    labels = torch.zeros(1, 200, 200, dtype=torch.int64)
    noised = diffusion(scale=scale).noised(labels, 2, torch.tensor([222]))
    share = 0.596809
    for channel, value in enumerate(reversed(scale)):
        assert noised[0, channel].mean().item() == pytest.approx(value * share**0.5, abs=0.02)
        assert noised[0, channel].var().item() == pytest.approx(1 - share, rel=0.03)


def test_step_zero_hardly_touches_a_label():
    noised = diffusion().noised(LABELS, 3, torch.tensor([0, 0]))
    assert noised.shape == (2, 3, 2, 2)
    assert torch.equal(noised.argmax(1), LABELS)


def test_clean_signals_lie_on_the_scale():
    logits = torch.tensor([[[[0.0]], [[0.0]]]]) + torch.tensor([2.0, -3.0])[None, :, None, None]
    p = torch.tensor([2.0, -3.0]).softmax(0)
    torch.testing.assert_close(diffusion().clean(logits).flatten(), 2 * p - 1)
    torch.testing.assert_close(diffusion(scale=(0, 1)).clean(logits).flatten(), p)
    assert diffusion(clean_from="clamp").clean(logits).flatten().tolist() == [1, -1]


def test_steps_of_a_batch():
    torch.manual_seed(0)
    ranged = diffusion(labelled_steps=(10, 12), unlabelled_steps=(900, 999))
    drawn = torch.stack([ranged.draw_for(2, 3) for _ in range(300)])
    assert set(drawn[:, :2].flatten().tolist()) == {10, 11, 12}
    assert (drawn[:, 2:].min(), drawn[:, 2:].max()) == (900, 999)
    assert (drawn[:, 0] != drawn[:, 1]).any()
    together = torch.stack([diffusion(draw="batch").draw_for(2, 2) for _ in range(300)])
    assert (together == together[:, :1]).all()
    assert len(set(together[:, 0].tolist())) > 200
    whole = torch.cat([diffusion().draw_for(500, 500) for _ in range(20)])
    assert (whole.min(), whole.max()) == (0, 999)
    assert whole.float().mean().item() == pytest.approx(499.5, abs=10)


@pytest.mark.parametrize(
    "settings", [{"labelled_steps": (5, 1000)}, {"unlabelled_steps": (7, 3)}, {"scale": (1, -1)}, {"scale": (0,)}]
)
def test_settings_that_do_not_fit(settings):
    with pytest.raises(ValueError, match=r"range of steps|low below high"):
        LabelDiffusionConfig(**settings)


class Denoiser(nn.Module):
    """Foreground where the image is bright or the noisy label says so, the latter the less the noisier it is."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x, t):
        trust = (1 - t / 1000).reshape(-1, *[1] * (x.ndim - 2))
        foreground = 0.3 * x[:, 0] + self.weight * trust * (x[:, 2] - x[:, 1])
        return torch.stack([-foreground, foreground], 1)


def predictor(patch=(8, 8), **settings):
    return DiffusionPredictor(Denoiser(), diffusion(), (2, *patch), **settings).eval()


def test_it_predicts_the_same_for_the_same_image_and_seed():
    image = torch.randn(2, 1, 8, 8)
    first = predictor()(image)
    torch.manual_seed(5)
    assert torch.equal(predictor()(image), first)
    assert not torch.equal(predictor(seed=1)(image), first)
    torch.testing.assert_close(first.sum(1), torch.ones(2, 8, 8))


def test_it_takes_the_chosen_steps():
    model, seen = predictor(steps=4), []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].tolist()))
    model(torch.randn(2, 1, 8, 8))
    assert seen == [[999] * 2, [666] * 2, [333] * 2, [0] * 2]


def test_beside_another_network_it_gives_the_mean():
    class Other(nn.Module):
        def forward(self, image):
            return torch.cat([image, -image], 1)

    image = torch.randn(1, 1, 8, 8)
    alone, both = predictor()(image), predictor(beside=Other())(image)
    torch.testing.assert_close(both, (alone + Other()(image).softmax(1)) / 2)


@pytest.mark.parametrize("engine", ["eager", "bf16"])
@pytest.mark.parametrize("dims", [2, 3])
def test_windows_agree_on_the_noise_where_they_overlap(dims, engine):
    """A network that looks at one voxel at a time then gives windows, averaged, the same as the whole image at once."""
    patch, shape = (8, 6, 4)[:dims], (17, 11, 9)[:dims]
    model = predictor(patch)
    image = torch.randn(1, *shape)
    with torch.no_grad():
        whole = model(image[None])[0]
    tiled = sliding_window(image, accelerate(model, engine), patch, tuple(side // 2 for side in patch), window_batch=3)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5 if engine == "eager" else 0.1)
    assert model._at([0] * dims, patch).unique().numel() == 2 * torch.Size(patch).numel(), "no value twice in a window"


def test_windows_are_not_alike():
    """Without their places all windows would see the same noise, and the average would differ from the whole."""
    image = torch.zeros(1, 17, 17)

    class Lost(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, windows):
            return self.model(windows)

    told, lost = (sliding_window(image, one, (8, 8), (4, 4)) for one in (predictor(), Lost(predictor())))
    assert (told - lost).abs().max() > 0.1


def test_it_exports():
    model = predictor(steps=2)
    program = export_program(model, (1, 8, 8)).module()
    for count in (1, 3):
        image = torch.randn(count, 1, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(program(image), model(image))


def test_neither_noise_nor_schedule_is_saved():
    assert list(predictor().state_dict()) == ["network.weight"]
