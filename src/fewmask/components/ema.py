"""The teacher: a network whose weights are a moving average of a student's."""

from __future__ import annotations

import copy
from typing import Literal, Self

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """A copy of a network that follows it and never trains.

    Its forward runs without gradient in whatever mode it is in; methods leave it in train mode during training, as the field does, so
    that dropout is active and batch norm uses batch statistics.

    Args:
        student: the network to copy.
        decay: ``alpha``; the early steps use ``min(1 - 1 / (i + 1), alpha)``, so that the first update copies the student.
        early: whether they do; else every step uses ``alpha``.
        buffers: what becomes of running statistics: ``own`` (the teacher's forward in train mode updates its own), ``copy`` the
            student's at each update, or ``average`` them like the weights.
    """

    updates: Tensor

    def __init__(
        self,
        student: nn.Module,
        decay: float = 0.99,
        buffers: Literal["own", "copy", "average"] = "own",
        *,
        early: bool = True,
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.decay, self.early = decay, early
        self.buffer_rule = buffers
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._counted: int | None = None  # the same number, so that no step waits for a GPU to tell it
        self.register_load_state_dict_post_hook(_forget_count)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """The teacher's logits, without gradient."""
        logits: Tensor = self.network(image)
        return logits

    @torch.no_grad()
    def update(self, student: nn.Module) -> Self:
        """One step of the moving average towards ``student``."""
        if self._counted is None:
            self._counted = int(self.updates)
        decay = min(1 - 1 / (self._counted + 1), self.decay) if self.early else self.decay
        for mine, theirs in zip(self.network.parameters(), student.parameters(), strict=True):
            mine.lerp_(theirs.to(mine.dtype), 1 - decay)
        if self.buffer_rule != "own":
            blend = 1.0 if self.buffer_rule == "copy" else 1 - decay
            for buffer, source in zip(self.network.buffers(), student.buffers(), strict=True):
                if buffer.is_floating_point():
                    buffer.lerp_(source, blend)
                else:
                    buffer.copy_(source)
        self.updates += 1
        self._counted += 1
        return self


def _forget_count(teacher: Teacher, keys: object) -> None:
    """The number of updates has come from a file."""
    teacher._counted = None
