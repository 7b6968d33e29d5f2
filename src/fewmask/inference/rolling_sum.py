"""The average of overlapping windows, without a volume of sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

_VALUES = 2**20  # of a slab, so that what follows it needs little memory; a plane that has more is a slab


def window(corner: Sequence[int], patch_size: Sequence[int]) -> Iterator[slice]:
    """The index of a window, one slice per axis."""
    return (slice(start, start + side) for start, side in zip(corner, patch_size, strict=True))


class RollingSum:
    """Weighted sums over windows, kept only for the planes of the first axis that a window can still reach.

    Windows must come in the order of their first plane. Every voxel then gets its additions in the order in which a
    sum over the whole volume would: the result is the same bit for bit.

    Args:
        classes: the number of sums per voxel.
        sides: voxels per axis of the image.
        profiles: weights of a window per axis (see `axis_weights`).
        starts: first voxels of the windows per axis.
    """

    def __init__(
        self, classes: int, sides: Sequence[int], profiles: Sequence[Tensor], starts: Sequence[Sequence[int]]
    ) -> None:
        self.patch = [len(profile) for profile in profiles]
        self.sums = profiles[0].new_zeros((classes, self.patch[0], *sides[1:]))
        self.first = 0  # the plane that self.sums[:, 0] holds
        self.weight = None if all(bool((profile == 1).all()) for profile in profiles) else _outer(profiles)
        # The windows are a full grid, so the sum of their weights is a product over the axes: no second volume needed.
        along = [
            _overlapping(side, profile, places) for side, profile, places in zip(sides, profiles, starts, strict=True)
        ]
        self.plane_weights, self.weight_in_plane = along[0], _outer(along[1:])

    def add(self, corner: Sequence[int], probabilities: Tensor) -> None:
        """One window's probabilities ``(K, *patch)``."""
        corner = (corner[0] - self.first, *corner[1:])
        place = (slice(None), *window(corner, self.patch))
        self.sums[place] += probabilities if self.weight is None else probabilities * self.weight

    def finish(self, plane: int) -> Iterator[tuple[int, Tensor]]:
        """The averages of the planes before ``plane``, which no later window reaches, in slabs; then they are forgotten."""
        done = plane - self.first
        step = max(1, _VALUES // self.sums[:, 0].numel())
        for at in range(0, done, step):
            averages = self.sums[:, at : min(at + step, done)]
            weights = self.plane_weights[self.first + at : self.first + at + averages.shape[1]]
            averages /= weights.view(-1, *[1] * self.weight_in_plane.ndim) * self.weight_in_plane
            yield self.first + at, averages
        if done > 0:
            self._forget(done)

    def _forget(self, planes: int) -> None:
        """Move what is left to the front, in pieces that do not overlap where they come from."""
        depth = self.patch[0]
        for to in range(0, depth - planes, planes):
            size = min(planes, depth - planes - to)
            self.sums[:, to : to + size] = self.sums[:, to + planes : to + planes + size]
        self.sums[:, depth - planes :] = 0
        self.first += planes


def _outer(profiles: Sequence[Tensor]) -> Tensor:
    """The product over axes, ``(*S)``, of one vector per axis."""
    product = torch.ones([], device=profiles[0].device)
    for profile in profiles:
        product = product[..., None] * profile
    return product


def _overlapping(side: int, profile: Tensor, starts: Sequence[int]) -> Tensor:
    """What the windows along an axis weigh together, per voxel."""
    total = profile.new_zeros(side)
    for start in starts:
        total[start : start + len(profile)] += profile
    return total
