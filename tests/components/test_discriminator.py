from __future__ import annotations

import pytest
import torch
from torch import nn

from fewmask.components.batch_statistics import in_eval_mode
from fewmask.components.discriminator import Discriminator


def test_the_published_size():
    assert sum(p.numel() for p in Discriminator(3, 1, 1).parameters()) == 11_020_290


def test_a_uniform_image_by_hand():
    """With weights of one value and 16 pixels a side, each layer counts the positions of its kernel that lie inside."""
    net = Discriminator(2, 1, 1, width=1, dropout=0.0)
    with torch.no_grad():
        for layer in (net.of_map, net.of_image, *net.deeper):
            layer.weight.fill_(0.01)
            layer.bias.zero_()
        net.output.weight.copy_(torch.stack([torch.ones(8), -torch.ones(8)]))
        net.output.bias.copy_(torch.tensor([0.0, 0.5]))
    # 16 to 8 pixels: of four rows a border pixel sees 3, an inner one 4; 2 maps of value 1.
    line = torch.tensor([3.0, *[4.0] * 6, 3.0], dtype=torch.float64)
    x = 0.02 * line[:, None] * line[None, :]
    for channels in (1, 2, 4):
        rows = torch.stack([x[max(2 * k - 1, 0) : 2 * k + 3].sum(0) for k in range(len(x) // 2)])
        x = torch.stack([rows[:, max(2 * k - 1, 0) : 2 * k + 3].sum(1) for k in range(rows.shape[1] // 2)], 1)
        x = 0.01 * channels * x
    wanted = 8 * x.item()
    ones = torch.ones(1, 1, 16, 16)
    torch.testing.assert_close(net(ones, ones)[0], torch.tensor([wanted, 0.5 - wanted]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dims", [2, 3])
def test_map_image_and_mode_matter(dims):
    torch.manual_seed(0)
    net = Discriminator(dims, 3, 2, width=8)
    found, image = torch.randn(2, 3, *(16,) * dims), torch.randn(2, 2, *(16,) * dims)
    assert net(found, image).shape == (2, 2)
    assert not torch.equal(net(found, image), net(found, image)), "dropout"
    net.eval()
    assert torch.equal(net(found, image), net(found, image))
    assert not torch.allclose(net(found, image), net(found + 1, image))
    assert not torch.allclose(net(found, image), net(found, image + 1))


def test_every_part_gets_its_mode_back():
    part = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()))
    part[1][0].eval()
    before = [module.training for module in part.modules()]
    with pytest.raises(ValueError, match="stop"), in_eval_mode(part):
        assert not any(module.training for module in part.modules())
        raise ValueError("stop")
    assert [module.training for module in part.modules()] == before
