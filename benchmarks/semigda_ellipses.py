"""Does `semigda` find masks in the latent space of a frozen autoencoder, and do its networks carry them? Ellipses in colour.

    python benchmarks/semigda_ellipses.py --output OUT [--seeds 0] [--three]

The toy: colour images of 32 x 32 with a wavy background and little noise; an ellipse of one colour is to be found, one of another colour is
not; 8 labelled, 88 unlabelled, 32 test, drawn anew for each seed. Autoencoder of widths 16, 32, 32, trained for 600 steps and then frozen;
200 steps of alignment at 4 + 4, 400 of training at 2 + 2. `--three`: a second ellipse is a class of its own, 16 labelled.

What is printed, pooled Dice of the test images in percent, and what is to be expected:

- ceiling: masks through the autoencoder and back; 95 or more
- aligned: both branches without adapters after the alignment; 60 or more. Beside it each branch alone, and the same with the weights of its
  own network (mapping, encoder) at random places, which must leave less than 20.
- trained: both branches at the end; 80 or more (65 with three classes), and more than aligned. Beside it the mask branch with its encoder's
  weights at random places (less than 40), and the image branch with its adapters' (less than before).
- wrong labels: the same training where each labelled image has the next one's label; less than 50.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from diffusion_predictors import predictor_of
from drawn_sets import Array, arguments, ellipse, overlap, pooled_dice, trained, write_set

from fewmask import Dataset
from fewmask.components.autoencoding import round_trip
from fewmask.inference.predictor import Predictor
from fewmask.run_folder import RunFolder

SIDE, COUNTS = 32, {"labelled": 8, "unlabelled": 88, "test": 32}
COLOURS = ((0.2, 0.35, 0.9), (0.9, 0.35, 0.2), (0.2, 0.85, 0.3))  # of what is not to be found, and of the classes
SETTINGS = [
    "preprocess.normalisation=none",
    "sampling.patch_size=[32,32]",
    "sampling.margin=0",
    "sampling.workers=0",
    "train.iterations=400",
    "train.lr=0.01",
    "inference.stride=[32,32]",
    "method.name=semigda",
    "method.input_range=[0,1]",
    "method.autoencoder.widths=[16,32,32]",
    "method.autoencoder.groups=8",
    "method.autoencoder.layers=1",
    "method.autoencoder.iterations=600",
    "method.autoencoder.lr=2.0e-3",
    "method.mapping_width=16",
    "method.blocks=[1,1]",
    "method.align_iterations=200",
    "method.align_batch=4",
]
# One last step at no rate to speak of: the run ends where the alignment does.
ALIGNED = ["method.adapters=none", "train.iterations=1", "train.lr=1.0e-12"]


def drawn(rng: np.random.Generator, classes: int) -> tuple[Array, Array]:
    """Image ``(3, 32, 32)`` in [0, 1] and label."""
    y, x = np.meshgrid(*[np.arange(SIDE) / SIDE] * 2, indexing="ij")
    waves = rng.uniform(-3, 3, (3, 2)), rng.uniform(0, 2 * np.pi, 3)
    image = np.stack([0.5 + 0.2 * np.sin(2 * np.pi * (f[0] * y + f[1] * x) + p) for f, p in zip(*waves, strict=True)])
    label = np.zeros((SIDE, SIDE), np.uint8)
    for value in range(classes):  # what is not to be found comes first, so that it hides nothing
        inside = ellipse(rng, y, x, centre=(0.25, 0.75), axes=(0.12, 0.25))
        image[:, inside] = (np.array(COLOURS[value]) + rng.uniform(-0.08, 0.08, 3))[:, None]
        label[inside] = value
    return np.clip(image + rng.normal(0, 0.03, image.shape), 0, 1), label


def data(options: argparse.Namespace, seed: int, *, shifted: bool = False) -> Dataset:
    """The images of a seed."""
    names = ("background", "first", "second")[: 3 if options.three else 2]
    counts = COUNTS | ({"labelled": 2 * COUNTS["labelled"]} if options.three else {})
    folder = options.output / f"Dataset{900 + 50 * shifted + seed}_Ellipses"
    return write_set(folder, lambda rng: drawn(rng, len(names)), names, **counts, seed=seed, shifted=shifted)


@torch.no_grad()
def ceiling(run: RunFolder, dataset: Dataset) -> float:
    """Dice of masks that went through the autoencoder and back."""
    predictor = predictor_of(run).module
    labels = torch.from_numpy(np.stack([dataset.read_label(n).data for n in dataset.ids("test")]).astype(np.int64))
    found = round_trip(predictor.branches.autoencoder, labels, predictor.code)
    return overlap([(found.numpy(), labels.numpy())], predictor.code.num_classes)


def shuffled(predictor: Predictor, part: str) -> Predictor:
    """The predictor, with every weight of a part of its networks at a random place of its tensor."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in predictor.module.branches.get_submodule(part).parameters():
            if weight.ndim > 1:
                weight.copy_(weight.flatten()[torch.randperm(weight.numel())].reshape(weight.shape))
    return predictor


def alone(run: RunFolder, dataset: Dataset, branch: str, parts: Sequence[str]) -> list[float]:
    """Dice of one branch, as it is and with each of the parts shuffled."""
    whole = pooled_dice(predictor_of(run, predict_with=branch), dataset)
    rest = [pooled_dice(shuffled(predictor_of(run, predict_with=branch), part), dataset) for part in parts]
    return [whole, *rest]


def row(options: argparse.Namespace, seed: int) -> list[float]:
    """All numbers of a seed."""
    dataset, settings = data(options, seed), [*SETTINGS, *options.changes]
    aligned = trained(options.output / f"aligned-seed{seed}", dataset, [*settings, *ALIGNED], seed)
    settings.append(f"method.autoencoder.pretrained={aligned.path}")
    whole = trained(options.output / f"trained-seed{seed}", dataset, settings, seed)
    wrong = trained(options.output / f"wrong-labels-seed{seed}", data(options, seed, shifted=True), settings, seed)
    return [
        ceiling(aligned, dataset),
        pooled_dice(predictor_of(aligned), dataset),
        *alone(aligned, dataset, "image", ["mapping"]),
        *alone(aligned, dataset, "mask", ["encoder"]),
        pooled_dice(predictor_of(whole), dataset),
        *alone(whole, dataset, "image", ["adapters.image"]),
        *alone(whole, dataset, "mask", ["encoder"]),
        pooled_dice(predictor_of(wrong), dataset),
    ]


def main() -> None:
    """Run what is missing, print the table."""
    options = arguments(__doc__, seeds=(0,), flags=["three"])
    heads = ["seed", "ceiling", "aligned", "image branch", "M shuffled", "mask branch", "R shuffled"]
    heads += ["trained", "image branch", "its adapters shuffled", "mask branch", "R shuffled", "wrong labels"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for seed in options.seeds:
        print(f"| {seed} | {' | '.join(f'{value:.1f}' for value in row(options, seed))} |", flush=True)


if __name__ == "__main__":
    main()
