"""Race: the memory that predicting a large scan needs, against sums over the whole volume.

    python benchmarks/memory.py [--scan 512 512 400] [--classes 2 14]

The same windows (112 x 112 x 80, at half the patch) go through the same small network; only what is kept differs: the
field's loop keeps a float volume per class and one of counts, MONAI's inferer too (``pip install monai``; left out where
it is not installed), fewmask a rolling slab. Each is a process of its own that makes the scan, predicts it and tells its
peak as Linux counted it (VmHWM); what the process held before it had the scan is taken off. Linux only.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fields_loop import fields_loop
from torch import nn

from fewmask.allocator import keep_freed_memory
from fewmask.config import load_experiment
from fewmask.data.image import Geometry, Image
from fewmask.inference.predictor import Predictor
from fewmask.task import Task

PATCH = (112, 112, 80)
STRIDE = tuple(side // 2 for side in PATCH)


def peak() -> int:
    """Bytes of memory that this process had at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def network(classes: int) -> nn.Module:
    """A network of one convolution: what is measured is what lies around it."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, classes, 1), nn.Softmax(1)).eval()


def made_scan(shape: tuple[int, ...]) -> np.ndarray:
    """``(1, *shape)`` float32, of mean 0 and variance 1."""
    return np.random.default_rng(0).standard_normal((1, *shape), dtype=np.float32)


def by_fields_loop(shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Labels by the field's loop."""
    probabilities = fields_loop(network(classes), made_scan(shape), classes, PATCH, STRIDE)
    return probabilities.argmax(0).astype(np.uint8)


def by_monai(shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Labels by MONAI's inferer."""
    from monai.inferers import SlidingWindowInferer

    image, net = torch.from_numpy(made_scan(shape))[None], network(classes)
    with torch.inference_mode():
        return SlidingWindowInferer(PATCH, overlap=0.5)(image, net)[0].argmax(0).to(torch.uint8).numpy()


def by_fewmask(shape: tuple[int, ...], classes: int, *, keep: bool = True, **preprocess: object) -> np.ndarray:
    """Labels by `Predictor.segment`, as `fewmask predict` makes them."""
    if keep:
        keep_freed_memory()
    task = Task(3, 1, tuple(f"class {k}" for k in range(classes)), PATCH, (1.0,) * 3)
    settings = {"preprocess": {"normalisation": "none", **preprocess}}
    predictor = Predictor(network(classes), task, load_experiment(changes=settings), ["x"], "cpu")
    scans = [Image(made_scan(shape), Geometry(shape, np.eye(4)), Path("scan"))]
    return predictor.segment(scans.pop())


RUNNERS: dict[str, Callable[[tuple[int, ...], int], np.ndarray]] = {
    "field's loop": by_fields_loop,
    "MONAI": by_monai,
    "fewmask": by_fewmask,
    "fewmask, resampled to 1.2 mm": lambda shape, classes: by_fewmask(shape, classes, spacing=[1.2] * 3),
}


def budget(shape: tuple[int, ...], classes: int) -> float:
    """What docs/performance.md states, without resampling; a quarter of a GiB for everything else."""
    voxels, slab, window = math.prod(shape), PATCH[0] * shape[1] * shape[2], math.prod(PATCH)
    return 4 * voxels + 4 * voxels + voxels + 4 * classes * (slab + 4 * window) + 2**28


def main() -> None:
    """Each way in a process of its own, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=int, nargs=3, default=(512, 512, 400))
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 14])
    parser.add_argument("--runner", choices=RUNNERS, help=argparse.SUPPRESS)
    parser.add_argument("--save", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = tuple(options.scan)
    if options.runner:
        torch.set_num_threads(1)
        RUNNERS[options.runner](PATCH, 2)  # what libraries need themselves is not part of the race
        before = peak()
        labels = RUNNERS[options.runner](shape, options.classes[0])
        print(peak() - before, int(labels.astype(np.int64).sum()))
        return
    print(
        f"scan {shape}\n\n| classes | way | peak, GiB | part of the field's | the same labels |\n|---|---|---|---|---|"
    )
    for classes in options.classes:
        first: tuple[int, str] | None = None
        for name in RUNNERS:
            if name == "MONAI" and importlib.util.find_spec("monai") is None:
                continue
            command = [
                sys.executable,
                __file__,
                "--runner",
                name,
                "--classes",
                str(classes),
                "--scan",
                *map(str, shape),
            ]
            bytes_, labels = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            first = first or (int(bytes_), labels)
            print(
                f"| {classes} | {name} | {int(bytes_) / 2**30:.2f} | {int(bytes_) / first[0]:.2f} | {'yes' if labels == first[1] else 'no'} |",
                flush=True,
            )
        print(f"| {classes} | stated bound without resampling | {budget(shape, classes) / 2**30:.2f} | | |", flush=True)


if __name__ == "__main__":
    main()
