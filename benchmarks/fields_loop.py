"""How the field's released codes predict: one window at a time, sums and counts in numpy. The races' first runner."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn


def fields_loop(
    network: nn.Module, image: np.ndarray, classes: int, patch: Sequence[int], stride: Sequence[int]
) -> np.ndarray:
    """Class probabilities ``(classes, *S)`` of an image ``(1, *S)``, float32."""
    sides = image.shape[1:]
    starts = [
        [min(i * s, side - p) for i in range(math.ceil((side - p) / s) + 1)]
        for side, p, s in zip(sides, patch, stride, strict=True)
    ]
    total, seen = np.zeros((classes, *sides), np.float32), np.zeros(sides, np.float32)
    for corner in itertools.product(*starts):
        window = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
        with torch.no_grad():
            total[:, *window] += network(torch.from_numpy(image[:, *window][None].copy()))[0].numpy()
        seen[window] += 1
    total /= seen
    return total
