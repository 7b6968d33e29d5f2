from __future__ import annotations

import torch
from torch import nn

from fewmask.components.batch_statistics import untracked


def test_the_batch_normalises_and_leaves_no_trace():
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3))).train()
    image = 5 + torch.randn(4, 1, 8, 8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with untracked(network):
        inside = network(image)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert torch.equal(network(image), inside), "the same normalisation as a tracked pass"
    assert any(not torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_norms_without_statistics_stay_so_after_an_error():
    norms = [nn.BatchNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False)]
    try:
        with untracked(*norms):
            raise ValueError
    except ValueError:
        pass
    assert [norm.track_running_stats for norm in norms] == [True, False]
