"""What one training step sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass
class Batch:
    """Labelled patches beside unlabelled ones.

    There is no field for the labels of unlabelled patches: they are never opened, so they cannot leak.

    Attributes:
        labelled: images ``(B_l, C, *S)``.
        labels: their labels ``(B_l, *S)``, int64.
        unlabelled: images ``(B_u, C, *S)``; ``B_u`` is 0 for methods that use none.
        unlabelled_strong: the same patches under a strong intensity change, for methods that ask by ``strong_views``.
        distances: signed distance maps of the labels ``(B_l, K - 1, *S)``, one a foreground class, for methods that ask by
            ``distance_maps``; see `fewmask.data.distance`.
        cases: the ids behind the patches, labelled then unlabelled, for messages about them.
    """

    labelled: Tensor
    labels: Tensor
    unlabelled: Tensor
    unlabelled_strong: Tensor | None = None
    cases: tuple[str, ...] = ()
    distances: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with ``change`` applied to every tensor, for example a move to a device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {
            name: change(value) if isinstance(value, Tensor) else value for name, value in values.items()
        }
        return Batch(**changed)

    def pin_memory(self) -> Batch:
        """The batch in memory from which a GPU fetches without the processor; torch's loader asks for it."""
        return self.map(lambda values: values.pin_memory())

    @property
    def images(self) -> Tensor:
        """Labelled then unlabelled images as one batch ``(B_l + B_u, C, *S)``."""
        return torch.cat([self.labelled, self.unlabelled])
