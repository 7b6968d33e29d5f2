"""Mapping, encoder and adapters around an autoencoder: sizes as published, and what they start from."""

from __future__ import annotations

import torch

from fewmask.networks.counting import count_parameters
from fewmask.networks.latent_encoder import LatentEncoder
from fewmask.networks.latent_mapping import LatentMapping
from fewmask.networks.skip_adapters import SkipAdapters

STABLE_DIFFUSION = (128, 256, 512, 512)


def test_parameters_as_published():
    with torch.device("meta"):
        assert count_parameters(LatentMapping()) == 1_556_464
        assert count_parameters(LatentEncoder(STABLE_DIFFUSION)) == 49_743_728
        assert count_parameters(SkipAdapters(STABLE_DIFFUSION, 32)) == 17_592_704


def test_the_mapping_keeps_the_shape_and_sees_everything():
    torch.manual_seed(0)
    mapping, latent = LatentMapping(3, 8), torch.randn(2, 3, 6, 10, requires_grad=True)
    output = mapping(latent)
    assert output.shape == latent.shape
    output[0, 0, 0, 0].backward()
    assert (latent.grad[0].abs().sum(0) > 0).all(), "attention reaches every position"
    assert not latent.grad[1].any(), "images do not mix"


def test_the_encoder_has_a_feature_map_a_level():
    encoder = LatentEncoder((8, 16, 24), (2, 1), 3).eval()
    moments, skips = encoder(torch.randn(2, 3, 32, 48))
    assert moments.shape == (2, 6, 8, 12)
    assert [tuple(skip.shape[1:]) for skip in skips] == [(8, 32, 48), (16, 16, 24), (24, 8, 12)]
    assert [len(stage) for stage in encoder.stages] == [2, 1]


def test_levels_beyond_the_numbers_have_as_many_blocks_as_the_last():
    assert [len(stage) for stage in LatentEncoder((4, 4, 4, 4, 4), (3, 2)).stages] == [3, 2, 2, 2]


def test_added_adapters_begin_as_nothing_and_replacing_ones_do_not():
    torch.manual_seed(0)
    features, skip = torch.randn(2, 8, 5, 5), torch.randn(2, 8, 5, 5)
    for mode, same in (("residual", True), ("replace", False)):
        adapters = SkipAdapters((4, 8), 4, mode)
        assert torch.equal(adapters.fuse(1, features, skip), features) is same
    assert not torch.equal(adapters.fuse(1, features, skip), adapters.fuse(1, features, -skip))
