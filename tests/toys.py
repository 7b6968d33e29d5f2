"""Small cases in memory and small experiments, for tests of methods and of the engine."""

from __future__ import annotations

import signal
from contextlib import contextmanager

import numpy as np
import torch

from fewmask.config import NetworkConfig, load_experiment, merge
from fewmask.data.batch import Batch
from fewmask.methods import METHODS
from fewmask.task import Task
from helpers import blobs

# Per-sample normalisation: one patch cannot reach another's output through batch statistics.
NETWORK = {"width": 4, "norm": "group", "dropout": 0.0}
PATCH = {2: (32, 32), 3: (16, 16, 16)}
# Instance norm, which the published network has, needs two voxels at the deepest level.
LARGER = {("urpc", 3): (32, 16, 16)}
# What every method's tests may take off a dear one; its own tests use its defaults.
CHEAP = {
    "bcp": {"pretrain_iterations": 6},
    "cct": {"perturbations": ["noise", "dropout"]},  # of a feature map of one voxel attention drops all
    # Dice of plain sums falls slowly from where a network starts.
    **{name: {"ce_weight": 0.5} for name in ("mc-net", "mc-net-plus", "ss-net")},
    "diffusion-co-training": {"rounds": {"count": 1}},
    "sassnet": {"discriminator_width": 4},
    "semigda": {
        "autoencoder": {"widths": [8, 8, 8], "groups": 4, "batch": 4},
        "mapping_width": 4,
        "blocks": [1],
        "align_batch": 2,
    },
}


# Foreground probabilities of two networks at ten voxels; what filters make of them is worked out by hand in the tests.
FOREGROUND_A = [0.99, 0.95, 0.9, 0.8, 0.3, 0.6, 0.05, 0.02, 0.4, 0.52]
FOREGROUND_B = [0.98, 0.6, 0.9, 0.45, 0.2, 0.7, 0.1, 0.03, 0.95, 0.55]


def logits_of(foreground):
    """Logits ``(1, 2, 1, n)`` of foreground probabilities."""
    p = torch.tensor(foreground, dtype=torch.float64)
    return torch.stack([torch.zeros_like(p), (p / (1 - p)).log()])[None, :, None].float().requires_grad_()


class MemorySource:
    """Cases in memory in place of a store; counts which labels were asked for."""

    def __init__(self, images, labels=None):
        self.images, self.labels, self.asked = images, labels or {}, []

    @classmethod
    def blobs(cls, shapes, classes=2, channels=1):
        scans = {f"case_{n}": blobs(shape, classes, channels, seed=n) for n, shape in enumerate(shapes)}
        return cls({name: scan[0] for name, scan in scans.items()}, {name: scan[1] for name, scan in scans.items()})

    def image(self, case):
        return self.images[case]

    def label(self, case):
        self.asked.append(case)
        return self.labels[case]

    def foreground(self, case):
        label = self.labels[case]
        index = np.argwhere(label > 0)
        return np.concatenate([label[label > 0][:, None], index], axis=1).astype(np.int32)


def small_task(dims=2, classes=2, channels=1, method=None):
    patch = LARGER.get((method, dims), PATCH[dims])
    return Task(dims, channels, tuple(f"class {k}" for k in range(classes)), patch, (1.0,) * dims)


def small_network(**settings):
    return NetworkConfig(**(NETWORK | settings))


def small_batch(task, seed=0, labelled=2, unlabelled=2, strong=False):
    """A batch of blob patches, normalised."""
    count = labelled + unlabelled
    scans = [blobs(task.patch_size, task.num_classes, task.in_channels, seed * 100 + n) for n in range(count)]
    images = torch.from_numpy(np.stack([(image - image.mean()) / image.std() for image, _ in scans]))
    labels = torch.from_numpy(np.stack([label for _, label in scans]).astype(np.int64))[:labelled]
    views = images[labelled:]
    return Batch(images[:labelled], labels, views, views + 0.1 if strong else None)


def small_experiment(method="supervised", /, **sections):
    """An experiment of six steps on 2D patches; ``sections`` go on top."""
    values = {
        "sampling": {"patch_size": list(PATCH[2]), "workers": 0},
        "network": NETWORK,
        "method": {"name": method, **CHEAP.get(method, {})},
        "train": {"iterations": 6, "log_every": 1, "accelerator": "cpu", "lr": 0.02},
    }
    return load_experiment(changes=merge(values, sections))


class Recorder:
    """A listener that keeps what it hears, and can ask for a stop after a step, as Ctrl-C does."""

    def __init__(self, stop_after=None):
        self.stop_after, self.begun, self.steps = stop_after, None, []

    def begin(self, done, total):
        self.begun = (done, total)

    def step(self, done, values):
        self.steps.append((done, dict(values)))
        if done == self.stop_after:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def registered(name, kind):
    """A method that is registered for the block only."""
    METHODS.register(name)(kind)
    try:
        yield kind
    finally:
        del METHODS._items[name]
