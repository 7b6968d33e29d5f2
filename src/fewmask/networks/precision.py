"""What must not be rounded to 16 bits under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """The tensor itself if it is float64, else as float32."""
    return x if x.dtype == torch.float64 else x.float()


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A block in which operations keep the types of their operands."""
    if not torch.amp.is_autocast_available(device.type):  # the meta device, say
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
