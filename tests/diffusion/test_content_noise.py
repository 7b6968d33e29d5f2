"""Noise that depends on an image and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from fewmask.diffusion.content_noise import content_key, content_noise, content_steps


def images(count=4, shape=(2, 24, 20)):
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(3))


def test_noise_is_standard_normal_and_white():
    noise = content_noise(content_key(images(3)), (2, 128, 128), stream=0)
    assert noise.shape == (3, 2, 128, 128)
    assert noise.dtype == torch.float32
    assert stats.kstest(noise[0].flatten().numpy(), "norm").pvalue > 0.01
    rows = noise.flatten(1).numpy()
    shifted = np.stack([rows[0], np.roll(rows[0], 1), np.roll(rows[0], 128), rows[1]])
    assert np.abs(np.corrcoef(shifted) - np.eye(4)).max() < 0.03
    moments = [float(noise.mean()), float(noise.std()), float((noise**4).mean())]
    assert moments == pytest.approx([0, 1, 3], abs=0.05)


def test_another_draw_another_seed_or_another_bit_gives_other_noise():
    image = images(1)
    changed = image.clone()
    changed[0, 1, 23, 19] = torch.nextafter(changed[0, 1, 23, 19], torch.tensor(10.0))
    keys = [content_key(image), content_key(image, seed=1), content_key(changed), content_key(image.flip(-1))]
    drawn = [content_noise(key, (1, 64, 64), 0).flatten().numpy() for key in keys]
    drawn += [content_noise(keys[0], (1, 64, 64), stream).flatten().numpy() for stream in (1, 2)]
    assert np.abs(np.corrcoef(np.stack(drawn)) - np.eye(6)).max() < 0.07


def test_batch_layout_and_time_do_not_matter():
    batch = images()
    key = content_key(batch)
    assert len(key.unique()) == 4
    assert torch.equal(content_key(batch[2:3]), key[2:3])
    assert torch.equal(content_key(batch.contiguous(memory_format=torch.channels_last)), key)
    noise = content_noise(key, (3, 8, 8), 5)
    torch.manual_seed(0)
    assert torch.equal(content_noise(key[1:2], (3, 8, 8), 5), noise[1:2])
    assert torch.equal(content_steps(key, 1000, -1)[3:], content_steps(key[3:], 1000, -1))


def test_steps_are_uniform_with_both_ends():
    keys = torch.arange(100_000)
    steps = content_steps(keys, 1000, -1)
    assert (int(steps.min()), int(steps.max())) == (0, 999)
    assert float(steps.double().mean()) == pytest.approx(499.5, abs=5)
    assert stats.chisquare(torch.bincount(steps, minlength=1000).numpy()).pvalue > 0.01
    other = content_steps(keys, 1000, -2)
    assert abs(np.corrcoef(steps, other)[0, 1]) < 0.02
