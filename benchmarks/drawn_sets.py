"""Small data sets that are drawn, and runs on them: what the learning checks of single methods share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fewmask import Dataset
from fewmask.allocator import keep_freed_memory
from fewmask.config import Experiment, load_experiment, merge, parse_assignment
from fewmask.data.image import Geometry, write_image
from fewmask.engine.train import train
from fewmask.files import write_json
from fewmask.inference.predictor import Predictor
from fewmask.run_folder import RunFolder

Array = NDArray[Any]
Draw = Callable[[np.random.Generator], tuple[Array, Array]]


def write_set(
    folder: Path,
    draw: Draw,
    classes: Sequence[str],
    *,
    labelled: int,
    unlabelled: int,
    test: int,
    seed: int,
    blank: bool = False,
    shifted: bool = False,
) -> Dataset:
    """A dataset folder of drawn images, written once.

    Args:
        folder: the data set.
        draw: an image ``(C, *S)`` and its label ``(*S)`` from a generator.
        classes: names, the background first.
        labelled: cases.
        unlabelled: cases.
        test: cases.
        seed: of all of them.
        blank: the unlabelled images are empty.
        shifted: each labelled image has the next one's label.
    """
    if (folder / "dataset.json").exists():
        return Dataset.open(folder)
    number, channels, ending = 0, 1, ""
    for group, count in {"Tr": labelled, "Un": unlabelled, "Ts": test}.items():
        for _ in range(count):
            image, label = draw(np.random.default_rng([seed, number]))
            if shifted and group == "Tr":
                label = draw(np.random.default_rng([seed, (number + 1) % labelled]))[1]
            image = 0 * image if blank and group == "Un" else image
            channels, ending = len(image), ".nii.gz" if label.ndim == 3 else ".tif"
            grid = Geometry(label.shape, np.eye(4))
            for channel, values in enumerate(image.astype(np.float32)):
                write_image(folder / f"images{group}" / f"drawn_{number:03d}_{channel:04d}{ending}", values, grid)
            if group != "Un":
                write_image(folder / f"labels{group}" / f"drawn_{number:03d}{ending}", label.astype(np.uint8), grid)
            number += 1
    description = {
        "name": "Drawn",
        "channel_names": {str(channel): f"channel {channel}" for channel in range(channels)},
        "labels": {name: value for value, name in enumerate(classes)},
        "numTraining": labelled,
        "file_ending": ending,
    }
    write_json(folder / "dataset.json", description)
    return Dataset.open(folder)


def experiment(settings: Sequence[str], seed: int) -> Experiment:
    """The experiment of assignments such as ``train.lr=0.1``, later ones over earlier ones."""
    changes: dict[str, Any] = {"train": {"seed": seed}}
    for setting in settings:
        changes = merge(changes, parse_assignment(setting))
    return load_experiment(changes=changes)


def trained(output: Path, dataset: Dataset, settings: Sequence[str], seed: int) -> RunFolder:
    """A finished run on all labels of a drawn set; trained as far as that is not done."""
    split = dataset.split(labelled=len(dataset.ids("train", labelled=True)), seed=seed)
    return train(experiment(settings, seed), dataset, split, output, resume=True)


def ellipse(
    rng: np.random.Generator, y: Array, x: Array, *, centre: tuple[float, float], axes: tuple[float, float]
) -> Array:
    """Which places lie in an ellipse whose centre, half axes and angle are drawn, the first two between bounds."""
    middle, halves, angle = rng.uniform(*centre, 2), rng.uniform(*axes, 2), rng.uniform(0, np.pi)
    dy, dx = y - middle[0], x - middle[1]
    along, across = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    inside: Array = (along / halves[0]) ** 2 + (across / halves[1]) ** 2 < 1
    return inside


def pooled_dice(predictor: Predictor, dataset: Dataset) -> float:
    """Dice of the foreground classes over all test voxels together, their mean, in percent."""
    names = dataset.ids("test", labelled=True)
    pairs = ((predictor.segment(dataset.read(name)), dataset.read_label(name).data) for name in names)
    return overlap(pairs, predictor.task.num_classes)


def overlap(pairs: Iterable[tuple[Array, Array]], num_classes: int) -> float:
    """See `pooled_dice`; of predicted and true labels."""
    hits, sizes = np.zeros(num_classes), np.zeros(num_classes)
    for found, label in pairs:
        for value in range(1, num_classes):
            mine, true = found == value, label == value
            hits[value] += 2 * (mine & true).sum()
            sizes[value] += mine.sum() + true.sum()
    return float(100 * (hits[1:] / sizes[1:].clip(1)).mean())


def arguments(
    description: str | None, seeds: Sequence[int], arms: Sequence[str] = (), flags: Sequence[str] = ()
) -> argparse.Namespace:
    """The command line of a learning check; one thread, and freed memory is kept."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(seeds))
    parser.add_argument("--set", nargs="*", default=[], dest="changes", help="KEY=VALUE for all runs")
    if arms:
        parser.add_argument("--arms", nargs="+", default=list(arms), choices=list(arms), metavar="NAME")
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    keep_freed_memory()
    torch.set_num_threads(1)
    return parser.parse_args()
