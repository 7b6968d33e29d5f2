"""Two-stream batches: labelled patches beside unlabelled ones.

Batch ``i`` is a pure function of the seed and ``i``: it does not depend on the number of loader processes, on what was drawn before,
or on the method, so a resumed run sees what the undisturbed one would have seen, and two methods under one seed see the same labelled
patches.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from fewmask.config import AugmentConfig, SamplingConfig
from fewmask.data.augment import augment, strong_view
from fewmask.data.batch import Batch
from fewmask.data.coded import Volume
from fewmask.data.crossing import ByValue, begun, received, sent
from fewmask.data.distance import signed_distances
from fewmask.errors import FewmaskError, RunError

Array = NDArray[Any]
LABELLED, UNLABELLED = 0, 1
_CAUSES = {
    "Killed": " (most likely the system had no memory left)",
    "Bus error": " (shared memory, /dev/shm, is full, or a file of the store was cut short while it was read)",
}


class CaseSource(Protocol):
    """Where patches come from; `fewmask.data.store.Store` is one."""

    def image(self, case: str) -> Volume:
        """Preprocessed image ``(C, *S)``, of which only what is indexed is read."""

    def label(self, case: str) -> Volume:
        """Its label ``(*S)``, likewise."""

    def foreground(self, case: str) -> Array:
        """Sampled foreground voxels ``(n, 1 + dims)``: class, then index."""


def case_at(seed: int, stream: int, position: int, count: int, batch: int) -> int:
    """Which case the ``position``-th sample of a stream shows.

    The labelled stream is a chain of epochs, each a shuffled pass whose incomplete last batch is dropped; the unlabelled stream is a
    chain of shuffled passes without gaps.
    """
    length = count // batch * batch if stream == LABELLED and count >= batch else count
    order = np.random.default_rng([seed, stream, 0, position // length]).permutation(count)
    return int(order[position % length])


def patch_start(
    shape: Sequence[int], patch: Sequence[int], rng: np.random.Generator, centre: Sequence[int] | None = None
) -> list[int]:
    """First index of a random patch inside a volume; with a ``centre``, of the patch around it that still lies inside."""
    if centre is None:
        return [int(rng.integers(side - size + 1)) for side, size in zip(shape, patch, strict=True)]
    return [min(max(c - size // 2, 0), side - size) for c, side, size in zip(centre, shape, patch, strict=True)]


def padding(shape: Sequence[int], patch: Sequence[int], margin: int) -> list[int]:
    """Zeros in front of and behind each axis, so that the patch fits.

    Half the lack, rounded down, plus ``margin`` where a side is not larger than the patch, else none. Without a margin
    an odd lack is rounded up.
    """
    lacks = [size - side for side, size in zip(shape, patch, strict=True)]
    return [max(lack // 2 + margin, -(-lack // 2)) if lack >= 0 else 0 for lack in lacks]


def read_patch(volume: Volume, start: Sequence[int], patch: Sequence[int], pad: Sequence[int]) -> Array:
    """The patch at ``start`` of the padded volume, reading only its voxels. Leading axes beyond the patch's are kept whole.

    Where nothing is padded it is what indexing the volume gives, for an array a view.
    """
    lead = volume.ndim - len(patch)
    source, target = [slice(None)] * lead, [slice(None)] * lead
    for first, size, before, side in zip(start, patch, pad, volume.shape[lead:], strict=True):
        # A wide margin can put the whole patch beside the volume: both slices are empty then.
        low, high = (min(max(edge - before, 0), side) for edge in (first, first + size))
        source.append(slice(low, high))
        target.append(slice(low - first + before, high - first + before))
    inside: Array = volume[tuple(source)]
    if inside.shape[lead:] == tuple(patch):
        return inside
    result = np.zeros((*volume.shape[:lead], *patch), volume.dtype)
    result[tuple(target)] = inside
    return result


@dataclass(frozen=True)
class Streams:
    """Which cases feed the two streams, and the seed that orders them."""

    labelled: Sequence[str]
    unlabelled: Sequence[str]
    seed: int


class BatchStream(Dataset[Batch | ByValue | FewmaskError]):
    """The batches of a run: item ``i`` is the batch of step ``i`` as tensors on the CPU.

    Args:
        source: the preprocessed cases.
        streams: who is labelled, who is not.
        patch_size: voxels per axis.
        sampling: batch sizes, foreground share, margin.
        augmentation: random changes.
        channels: channels of an image (for the empty stream of a method that uses no unlabelled scans).
        strong: whether to add strong views.
        distances: add signed distance maps of labels with so many classes; none: no maps.
        rank: this process's place among ``world`` data-parallel ones; each gets its own share of one large batch.
        world: number of data-parallel processes.
    """

    def __init__(
        self,
        source: CaseSource,
        streams: Streams,
        patch_size: Sequence[int],
        sampling: SamplingConfig,
        augmentation: AugmentConfig,
        *,
        channels: int,
        strong: bool = False,
        distances: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.source, self.streams, self.patch_size = source, streams, tuple(patch_size)
        self.sampling, self.augmentation = sampling, augmentation
        self.channels, self.strong, self.distances = channels, strong, distances
        self.rank, self.world = rank, world

    def __getitem__(self, step: int) -> Batch | ByValue | FewmaskError:
        """The batch of a step; a problem of the data comes back as a value, so that it crosses process borders in one piece."""
        try:
            return sent(self.batch(step))
        except FewmaskError as error:
            return error

    def batch(self, step: int) -> Batch:
        """The batch of a step.

        Raises:
            DataError: a case cannot be read.
            RunError: a file of the store was removed, damaged or replaced.
        """
        known, others = self._places(LABELLED, step), self._places(UNLABELLED, step)
        labelled = [self._labelled(position, case) for position, case in known]
        views = [self._unlabelled(position, case) for position, case in others]
        maps = [signed_distances(label, self.distances) for _, label in labelled] if self.distances else None
        strong = self._stack([view for _, view in views if view is not None]) if self.strong else None
        return Batch(
            labelled=self._stack([image for image, _ in labelled]),
            labels=self._stack([label for _, label in labelled], ()).long(),
            unlabelled=self._stack([image for image, _ in views]),
            unlabelled_strong=strong,
            cases=tuple(case for _, case in (*known, *others)),
            distances=torch.from_numpy(np.stack(maps)) if maps else None,
        )

    def _places(self, stream: int, step: int) -> list[tuple[int, str]]:
        """Positions and case ids of this process's samples of a step."""
        known = stream == LABELLED
        cases = self.streams.labelled if known else self.streams.unlabelled
        size = self.sampling.labelled if known else self.sampling.unlabelled
        if not cases:
            return []
        start = (step * self.world + self.rank) * size
        batch = size * self.world if known else 1
        order = (case_at(self.streams.seed, stream, k, len(cases), batch) for k in range(start, start + size))
        return [(k, cases[index]) for k, index in enumerate(order, start)]

    def _labelled(self, position: int, case: str) -> tuple[Array, Array]:
        rng = np.random.default_rng([self.streams.seed, LABELLED, 1, position])
        centre = self._foreground_voxel(case, rng)
        volume = self.source.image(case)
        pad, start = self._place(volume.shape[1:], rng, centre)
        image, label = (read_patch(array, start, self.patch_size, pad) for array in (volume, self.source.label(case)))
        image, changed = augment(image, label, self.augmentation, rng)
        return image, label if changed is None else changed

    def _unlabelled(self, position: int, case: str) -> tuple[Array, Array | None]:
        rng = np.random.default_rng([self.streams.seed, UNLABELLED, 1, position])
        volume = self.source.image(case)
        pad, start = self._place(volume.shape[1:], rng, None)
        image, _ = augment(read_patch(volume, start, self.patch_size, pad), None, self.augmentation, rng)
        return image, strong_view(np.ascontiguousarray(image), rng) if self.strong else None

    def _foreground_voxel(self, case: str, rng: np.random.Generator) -> list[int] | None:
        if rng.random() >= self.sampling.foreground:
            return None
        voxels = self.source.foreground(case)
        classes = np.unique(voxels[:, 0])
        if not len(classes):
            return None
        candidates = voxels[voxels[:, 0] == rng.choice(classes)]
        return [int(v) for v in candidates[rng.integers(len(candidates)), 1:]]

    def _place(
        self, shape: Sequence[int], rng: np.random.Generator, centre: list[int] | None
    ) -> tuple[list[int], list[int]]:
        pad = padding(shape, self.patch_size, self.sampling.margin)
        padded = [side + 2 * before for side, before in zip(shape, pad, strict=True)]
        moved = None if centre is None else [c + before for c, before in zip(centre, pad, strict=True)]
        return pad, patch_start(padded, self.patch_size, rng, moved)

    def _stack(self, parts: list[Array], channels: tuple[int, ...] | None = None) -> torch.Tensor:
        lead = (self.channels,) if channels is None else channels
        batch = np.empty((len(parts), *lead, *self.patch_size), parts[0].dtype if parts else np.float32)
        for place, part in zip(batch, parts, strict=True):
            place[...] = part  # np.stack would keep the axes in memory as a turn has left them
        return torch.from_numpy(batch)


def _leave_signals_to_main(worker: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach the whole process group; the main process alone decides what they mean.

    It still needs this one's batches for the step under way. A second SIGTERM ends a worker: that is the loader cleaning up.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))


@contextmanager
def explained_loaders() -> Iterator[None]:
    """Says why a loader process died or failed; of a death torch tells the main process wherever that happens to be.

    Raises:
        RunError: a loader process died, or met an error that nobody foresaw.
    """
    try:
        yield
    except Exception as error:
        died = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) ([^.]+)", str(error))
        if died:
            cause = next((why for word, why in _CAUSES.items() if word in died[2]), "")
            raise RunError(
                f"loader process {died[1]} {died[2].strip()}{cause}: set sampling.workers=0 to load in the main process, "
                "and continue with --resume auto"
            ) from error
        if re.match(r"Caught \w+ in DataLoader worker process", str(error)):
            cause = str(error).strip().splitlines()[-1]
            raise RunError(f"a loader process failed ({cause}); `fewmask --debug train ...` shows where") from error
        raise


def batches(stream: BatchStream, start: int, stop: int, workers: int) -> Iterator[Batch]:
    """The batches of steps ``start`` to ``stop - 1``, in order, loaded ahead by worker processes.

    Raises:
        FewmaskError: a case cannot be read; names it.
    """

    def start_loader(processes: int) -> Iterator[Any]:
        return iter(
            DataLoader(
                stream,
                batch_size=None,
                sampler=range(start, stop),
                num_workers=processes,
                pin_memory=torch.cuda.is_available(),
                prefetch_factor=4 if processes else None,
                worker_init_fn=_leave_signals_to_main,
            )
        )

    loaded = begun(start_loader, workers)
    try:
        for batch in received(loaded):
            if isinstance(batch, FewmaskError):
                raise batch
            yield batch
    except RuntimeError as error:
        raise RuntimeError(str(error).replace("exited unexpectedly", _how_it_ended(loaded))) from error


def _how_it_ended(loaded: Iterator[Any]) -> str:
    """What torch says of a dead loader process when the system's signal tells it; when it looks by itself, it leaves that out."""
    codes = [worker.exitcode for worker in getattr(loaded, "_workers", ())]
    code = next((code for code in codes if code), None)
    if code is None:
        return "exited unexpectedly"
    return f"is killed by signal: {signal.strsignal(-code)}" if code < 0 else f"exited unexpectedly with code {code}"
