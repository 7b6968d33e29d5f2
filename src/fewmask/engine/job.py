"""From settings, data set and split to what the training loop needs: preprocessed cases, a task, streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewmask.config import Experiment, MethodSection
from fewmask.data.dataset import Dataset
from fewmask.data.sampling import BatchStream, Streams
from fewmask.data.split import Split
from fewmask.data.store import Store
from fewmask.errors import ConfigError
from fewmask.methods.base import METHODS, Phase, method_config
from fewmask.task import Task

LARGEST_PATCH = {2: 256 * 256, 3: 112 * 112 * 80}
STRIDE = 16


@dataclass(frozen=True)
class Job:
    """A training, ready to run.

    Attributes:
        experiment: the config with everything that depends on the data resolved to numbers.
        task: what the networks are built for.
        split: who is labelled.
        store: the preprocessed cases.
        dataset: the data set's description, as the run folder keeps it.
    """

    experiment: Experiment
    task: Task
    split: Split
    store: Store
    dataset: dict[str, object]

    def stream(self, phase: Phase, rank: int = 0, world: int = 1) -> BatchStream:
        """The batches of a phase."""
        kind = METHODS[self.experiment.method.name]
        unlabelled = self.split.unlabelled if phase.unlabelled and kind.uses_unlabelled else ()
        if unlabelled and phase.all_images:
            unlabelled = tuple(sorted((*self.split.labelled, *unlabelled)))
        streams = Streams(self.split.labelled if phase.labelled else (), unlabelled, self.experiment.train.seed)
        return BatchStream(
            self.store,
            streams,
            self.task.patch_size,
            phase.sampled(self.experiment.sampling),
            self.experiment.augment,
            channels=self.task.in_channels,
            strong=kind.strong_views,
            distances=self.task.num_classes if kind.distance_maps else None,
            rank=rank,
            world=world,
        )


def default_store(dataset: Dataset) -> Path:
    """Where preprocessed cases go unless told: a hidden folder of the data set, which nnU-Net ignores."""
    return dataset.root / ".fewmask" / "store"


def assemble(
    experiment: Experiment,
    dataset: Dataset,
    split: Split,
    store: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Job:
    """Check that settings, data and split go together, preprocess what is not yet, and resolve the rest of the config.

    Args:
        experiment: the settings.
        dataset: the data.
        split: who is labelled; labels of no other training case are opened.
        store: folder for the preprocessed cases; none: `default_store`.
        progress: called with cases done and cases in all.

    Raises:
        ConfigError: settings that cannot work with this data.
        DataError: a case cannot be read.
    """
    method = MethodSection(name=experiment.method.name, **method_config(experiment.method).model_dump(mode="json"))
    unlabelled = _unlabelled(split, method.name)
    cases = Store(store or default_store(dataset), dataset, experiment.preprocess)
    labelled = [*split.labelled, *split.validation]
    cases.prepare([*labelled, *unlabelled], labelled, progress)
    shapes = [cases.shape(case) for case in [*split.labelled, *unlabelled]]
    patch = experiment.sampling.patch_size or choose_patch(shapes)
    _check_patch(patch, dataset.spatial_dims)
    _check_stride(experiment.inference.stride, patch)
    spacing = np.median([cases.spacing(case) for case in split.labelled], axis=0)
    task = Task(
        dataset.spatial_dims, len(dataset.channel_names), tuple(dataset.class_names), patch, tuple(map(float, spacing))
    )
    resolved = experiment.model_copy(
        update={
            "preprocess": cases.config,
            "method": method,
            "sampling": experiment.sampling.model_copy(update={"patch_size": patch}),
        }
    )
    return Job(resolved, task, split, cases, describe(dataset))


def choose_patch(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """A patch that the data suggest: the median shape, rounded up to the networks' stride, its longest side cut until it fits.

    It has two strides along one axis at least, so that the networks' deepest level has two voxels for a norm to scale.

    Args:
        shapes: voxels per axis of the preprocessed training scans.
    """
    sides = np.median(np.array(shapes), axis=0)
    patch = [math.ceil(side / STRIDE) * STRIDE for side in sides]
    if max(patch) == STRIDE:
        patch[int(sides.argmax())] += STRIDE
    while math.prod(patch) > LARGEST_PATCH[len(patch)]:
        patch[patch.index(max(patch))] -= STRIDE
    return tuple(patch)


def _unlabelled(split: Split, method: str) -> tuple[str, ...]:
    """The unlabelled cases that a method trains on."""
    if not METHODS[method].uses_unlabelled:
        return ()
    if not split.unlabelled:
        raise ConfigError(
            f"method {method} learns from unlabelled scans, but the split has none: put scans into imagesUn/, "
            "label fewer with --labelled, or choose --method supervised"
        )
    return split.unlabelled


def _check_patch(patch: Sequence[int], dims: int) -> None:
    if len(patch) != dims:
        raise ConfigError(
            f"sampling.patch_size has {len(patch)} numbers, but the scans are {dims}D: give {dims}, e.g. {[96] * dims}"
        )
    if any(side <= 0 or side % STRIDE for side in patch):
        nearest = [max(round(side / STRIDE), 1) * STRIDE for side in patch]
        raise ConfigError(
            f"sampling.patch_size {list(patch)}: every side must be a multiple of {STRIDE}; nearest: {nearest}"
        )


def _check_stride(stride: Sequence[int] | None, patch: Sequence[int]) -> None:
    """Here and not only in the sliding window, which may run for the first time after hours of training."""
    if stride is None:
        return
    if len(stride) != len(patch) or any(not 1 <= step <= side for step, side in zip(stride, patch, strict=True)):
        raise ConfigError(
            f"inference.stride {list(stride)}: give {len(patch)} numbers from 1 to the sides of the patch {list(patch)}"
        )


def describe(dataset: Dataset) -> dict[str, object]:
    """What the run folder keeps of a data set: enough to read a scan of the same kind and to name its classes."""
    return {
        "name": dataset.name,
        "channel_names": list(dataset.channel_names),
        "class_names": list(dataset.class_names),
        "file_ending": dataset.file_ending,
        "spatial_dims": dataset.spatial_dims,
        "root": str(dataset.root.resolve()),
    }
