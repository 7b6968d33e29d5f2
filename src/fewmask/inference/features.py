"""What a network sees in a scan as a whole: its deepest features, averaged over the scan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewmask.inference.sliding_window import evaluating

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


class PooledFeatures:
    """The mean of a layer's outputs over all windows of a scan.

    The layer is found by one forward pass: of the convolutions with the fewest voxels the last one with the most channels, which is
    the bottom of an encoder and decoder, whatever the network is called.

    Args:
        module: image ``(B, C, *patch)`` to class probabilities.
        shape: ``(C, *patch)`` of an image that it takes.
        device: where it runs.
    """

    def __init__(self, module: nn.Module, shape: tuple[int, ...], device: torch.device) -> None:
        self.layer = deepest_layer(module, shape, device)
        self._sum: Tensor | None = None
        self._windows = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Collect what the layer puts out within the block."""
        self._sum, self._windows = None, 0
        handle = self.layer.register_forward_hook(self._note)
        try:
            yield
        finally:
            handle.remove()

    def mean(self) -> NDArray[np.float64]:
        """``(channels,)``, over all windows and places since the block began."""
        assert self._sum is not None  # a prediction has a window at least
        return np.asarray((self._sum / self._windows).cpu().numpy())

    def _note(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        pooled = output.detach().double().flatten(2).mean(2).sum(0)
        self._sum = pooled if self._sum is None else self._sum + pooled
        self._windows += len(output)


@torch.no_grad()
def deepest_layer(module: nn.Module, shape: tuple[int, ...], device: torch.device) -> nn.Module:
    """The convolution of a module with the smallest output, the widest among these, the last among those."""
    found: list[tuple[int, int, int, nn.Module]] = []

    def note(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append((-output[0, 0].numel(), output.shape[1], len(found), layer))

    layers = [layer for layer in module.modules() if isinstance(layer, _CONVOLUTIONS)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with evaluating(module):
            module(torch.zeros(1, *shape, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return max(found, key=lambda entry: entry[:3])[3]
