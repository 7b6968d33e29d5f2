"""Passes in train mode that leave no trace in batch norm, and passes in eval mode in the midst of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def untracked(*modules: nn.Module) -> Iterator[None]:
    """Batch norms in train mode still normalise by the batch, but their running statistics stay as they are."""
    norms = [part for module in modules for part in module.modules() if isinstance(part, _BatchNorm)]
    before = [norm.track_running_stats for norm in norms]
    try:
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for norm, tracks in zip(norms, before, strict=True):
            norm.track_running_stats = tracks


@contextmanager
def in_eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Modules without dropout and with batch norm's running statistics, for a while; then in the mode that each part had."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for part, training in before:
            part.training = training
