"""A memory of feature vectors by class, kept over the training steps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch
import torch.distributed as dist
from pydantic import Field
from torch import Tensor, nn

from fewmask.config import Section

NOBODY = -1  # the owner of a slot that no image can claim again


class BankConfig(Section):
    """How much is remembered of what."""

    policy: Literal["per_image", "fifo"] = Field(
        "per_image", description="per_image: a visit replaces the image's last one; fifo: the oldest visit of any image"
    )
    slots: int = Field(64, ge=1, description="visits that are held for each class; when all are full the oldest goes")
    push: int = Field(512, ge=1, description="vectors of a class that a visit leaves at most")
    confidence: float = Field(
        0.0, ge=0, lt=1, description="remembered: voxels that are predicted right with at least this probability"
    )


class MemoryBank(nn.Module):
    """Vectors of each class in slots of one visit of an image; all of it is in the state dict.

    A visit to which a class contributes nothing leaves the class's slots alone, so that an image whose new patch lacks the class stays
    represented. Where several processes train, each puts in what all of them saw, and the banks stay equal.

    Args:
        classes: K.
        size: of a vector.
        config: see `BankConfig`.
    """

    vectors: Tensor
    counts: Tensor
    owners: Tensor
    filled: Tensor
    visits: Tensor

    def __init__(self, classes: int, size: int, config: BankConfig) -> None:
        super().__init__()
        self.config = config
        slots = (classes, config.slots)
        self.register_buffer("vectors", torch.zeros(*slots, config.push, size))
        self.register_buffer("counts", torch.zeros(slots, dtype=torch.int64))
        self.register_buffer("owners", torch.full(slots, NOBODY))
        self.register_buffer("filled", torch.zeros(slots, dtype=torch.int64))  # the visit that filled it, from 1
        self.register_buffer("visits", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def store(self, vectors: Sequence[Sequence[Tensor]], owners: Tensor) -> None:
        """Remember a batch.

        Args:
            vectors: of each image, of each class: ``(n, size)`` with ``n <= push``.
            owners: whose they are, ``(B,)`` int64; see `image_numbers`.
        """
        packed = self.vectors.new_zeros(len(vectors), *self.vectors[:, 0].shape)
        counts = torch.tensor([[len(rows) for rows in image] for image in vectors], device=packed.device)
        for image, each in zip(packed, vectors, strict=True):
            for slot, rows in zip(image, each, strict=True):
                slot[: len(rows)] = rows
        parts = [everyones(part) for part in (packed, counts, owners.to(packed.device))]
        for image, numbers, owner in zip(*parts, strict=True):
            self._visit(image, numbers, owner)

    def _visit(self, vectors: Tensor, counts: Tensor, owner: Tensor) -> None:
        """One image: ``(K, push, size)``, ``(K,)`` and its number."""
        self.visits += 1
        for label, count in enumerate(counts.tolist()):
            if not count:
                continue
            age = self.filled[label]
            if self.config.policy == "per_image":
                age = age.masked_fill((self.owners[label] == owner) & (owner != NOBODY), -1)
            slot = age.argmin()
            self.vectors[label, slot], self.counts[label, slot] = vectors[label], count
            self.owners[label, slot], self.filled[label, slot] = owner, self.visits

    def draw(self, label: int, count: int) -> Tensor:
        """``count`` vectors of a class, all different, ``(count, size)``; fewer where there are fewer."""
        valid = torch.arange(self.config.push, device=self.counts.device) < self.counts[label][:, None]
        rows = self.vectors[label][valid]
        return rows[torch.randperm(len(rows), device=rows.device)[:count]]


def image_numbers(names: Sequence[str], count: int) -> Tensor:
    """A number ``(count,)`` int64 for each of the first ``count`` names, the same in every process; `NOBODY` where there are no names."""
    if not names:
        return torch.full((count,), NOBODY)
    digests = [hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=7) for name in names[:count]]
    return torch.tensor([int.from_bytes(digest.digest(), "big") for digest in digests])


def everyones(values: Tensor) -> Tensor:
    """The values of all processes that train together, one after the other along the first axis; they have equal shapes."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)
