from __future__ import annotations

import warnings

import pytest
import torch

from fewmask.components.collapse import CollapseMonitor
from fewmask.errors import FewmaskWarning


def labels(share, size=1000):
    values = torch.zeros(1, size, dtype=torch.int64)
    values[:, : round(share * size)] = 1
    return values


def run(monitor, predicted, steps):
    for step in range(steps):
        longest = monitor.update(labels(0.3), *predicted)
        monitor.warn(step + 1)
    return int(longest)


def test_an_all_background_network_is_found():
    monitor = CollapseMonitor(2)
    with pytest.warns(FewmaskWarning, match="collapsed"):
        assert run(monitor, [labels(0.3), labels(0.0)], 100) == 100
    assert monitor.starved.tolist() == [0, 100]


def test_a_network_that_finds_a_fifth_is_let_be():
    monitor = CollapseMonitor(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(monitor, [labels(0.06), labels(0.5)], 250) == 0


def test_one_step_of_foreground_starts_the_count_anew():
    monitor = CollapseMonitor(1)
    run(monitor, [labels(0.01)], 60)
    run(monitor, [labels(0.2)], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(monitor, [labels(0.01)], 60) == 60


def test_the_count_survives_a_restart():
    monitor, other = CollapseMonitor(1), CollapseMonitor(1)
    run(monitor, [labels(0.0)], 30)
    other.load_state_dict(monitor.state_dict())
    assert run(other, [labels(0.0)], 5) == 35
