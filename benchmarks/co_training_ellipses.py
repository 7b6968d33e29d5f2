"""Does `diffusion-co-training` learn from images without labels? Ellipses behind lines, shading and noise, 2 labelled and 200 not.

    python benchmarks/co_training_ellipses.py --output OUT [--seeds 0 1 2 3] [--arms NAME ...]

The toy: grey images of 32 x 32, drawn anew for each seed; the union of one to three ellipses, brighter than the rest by a random contrast, a
random offset and shading, three straight lines that are brighter still and belong to nothing, noise of deviation 0.5; 100 test images.
Networks of width 8; the teacher sees 400 batches of 16 images without labels, then 200 steps of 8 + 8 patches follow, R = 2, lambda 1, Adam
at 0.003, halved each quarter. To be expected over seeds 0 to 3 (each in points of the pooled Dice of one noise sample): "full" at least
3 above "labels only" on average and above it in three of four, at least 1 above "no rounds", nowhere below 70, and not below "full, blank",
whose unlabelled images are empty.

Beside it: the error of the noise in pre-training, mean of the first and of the last 50 steps (from 0.6 to below 0.3), and by which factor it
grows at step 250 when each test image gets another one's mask (1.5 or more: the mask is used); and for "full" the standard
deviation of Dice over ten noise seeds, with one sample and with the mean of 16 (`--spreads`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch
from diffusion_predictors import predictor_of
from drawn_sets import Array, arguments, ellipse, pooled_dice, trained, write_set
from torch import Tensor

from fewmask import Dataset
from fewmask.components.mask_diffusion import signed
from fewmask.engine.kept import start_from
from fewmask.engine.loggers import read_metrics
from fewmask.inference.predictor import Predictor
from fewmask.methods import build_method
from fewmask.run_folder import RunFolder

SIDE, PAGE = 32, 24  # of the image, and of the square in whose units shapes are drawn
MEAN, DEVIATION = -0.41, 1.18  # of what is drawn, measured on 1200 images
SETTINGS = [
    "preprocess.normalisation=none",
    "sampling.patch_size=[32,32]",
    "sampling.margin=0",
    "sampling.workers=0",
    "sampling.labelled=8",
    "sampling.unlabelled=8",
    "network.name=diffusion-unet",
    "network.width=8",
    "train.optimiser=adam",
    "train.beta2=0.99",
    "train.weight_decay=5.0e-5",
    "train.lr=0.003",
    "train.log_every=1",
    "inference.stride=[32,32]",
    "method.name=diffusion-co-training",
    "method.rounds.count=2",
    "method.rounds.track=true",
    *(f"method.{term}.weight=1" for term in ("semi", "align", "reconstruction")),
]
COUNTS = {"labelled": 2, "unlabelled": 200, "test": 100}
NOISE_SEEDS = 10
CO_TRAINING = ["train.iterations=200", "train.schedule=step", "train.step_every=50", "train.step_factor=0.5"]
PRETRAINING = [
    "method.pretrain.iterations=400",
    "train.iterations=1",
    "sampling.unlabelled=16",
    "train.schedule=constant",
]
UNTRAINED = "method.pretrain.iterations=0"
ARMS = {
    "labels only": [UNTRAINED, *(f"method.{term}.weight=0" for term in ("semi", "align", "reconstruction"))],
    "no rounds": [UNTRAINED, "method.rounds.count=0"],
    "full": [],
    "full, blank": [],
}


def draw(rng: np.random.Generator) -> tuple[Array, Array]:
    """Image ``(1, 32, 32)``, zero mean and unit variance over the set, and label."""
    y, x = np.meshgrid(*[(np.arange(SIDE) + 0.5) * PAGE / SIDE] * 2, indexing="ij")
    mask = np.zeros((SIDE, SIDE), bool)
    for _ in range(rng.integers(1, 4)):
        mask |= ellipse(rng, y, x, centre=(5, 19), axes=(2.5, 6))
    contrast, shade = rng.uniform(0.6, 1.4), rng.uniform(-1, 1, 2)
    image = (
        rng.uniform(-0.5, 0.5) + contrast * (2.0 * mask - 1) + shade[0] * (x / PAGE - 0.5) + shade[1] * (y / PAGE - 0.5)
    )
    for _ in range(3):
        through, angle = rng.uniform(0, PAGE, 2), rng.uniform(0, np.pi)
        away = np.abs(np.cos(angle) * (y - through[0]) - np.sin(angle) * (x - through[1]))
        image = image + 1.5 * contrast * (away < 0.7)
    image = image + rng.normal(0, 0.5, image.shape)
    return (image[None] - MEAN) / DEVIATION, mask


def noise_errors(run: RunFolder) -> tuple[float, float]:
    """The mean reconstruction loss of the first and of the last 50 steps of pre-training."""
    losses = [float(row["loss"]) for row in read_metrics(run.metrics) if row["phase"] == "pretrain"]
    return fmean(losses[:50]), fmean(losses[-50:])


@torch.no_grad()
def mask_factor(run: RunFolder, dataset: Dataset) -> float:
    """How much worse the teacher finds the noise of step 250 with the mask of another image."""
    section = run.experiment().method
    method = build_method(
        run.task(), section.model_copy(update={"pretrained": str(run.path)}), run.experiment().network
    )
    start_from(method)
    method.eval()
    torch.manual_seed(0)
    image = torch.from_numpy(np.stack([dataset.read(name).data for name in dataset.ids("test")])).float()
    mask, noise = method.diffusion.mask(method.teacher.mask, image), torch.randn_like(image)
    t = torch.full((len(image),), 249)
    noisy = method.diffusion.schedule.add_noise(image, noise, t)

    def error(logits: Tensor) -> float:
        return float((method.teacher.noise(noisy, signed(logits), t) - noise).square().mean())

    return error(mask.roll(1, 0)) / error(mask)


def spreads(run: RunFolder, dataset: Dataset) -> tuple[float, float]:
    """The standard deviation of Dice over ten noise seeds: of one sample, and of the mean of 16."""
    found = []
    for draws in (1, 16):
        settings = [{"draws": draws, "seed": seed} for seed in range(NOISE_SEEDS)]
        found.append(stdev(pooled_dice(predictor_of(run, predict=each), dataset) for each in settings))
    return found[0], found[1]


def dataset_of(output: Path, seed: int, *, blank: bool) -> Dataset:
    """The images of a seed; ``blank``: with nothing in the unlabelled ones."""
    folder, classes = output / f"Dataset{900 + 50 * blank + seed}_Ellipses", ("background", "ellipse")
    return write_set(folder, draw, classes, **COUNTS, seed=seed, blank=blank)


def arm(options: argparse.Namespace, name: str, seed: int, dataset: Dataset) -> tuple[RunFolder, RunFolder | None]:
    """The run of an arm, and the pre-training from which it starts, if any."""
    stem, start, teacher = f"{name.replace(', ', '-').replace(' ', '-')}-seed{seed}", list[str](), None
    if name.startswith("full"):
        settings = [*SETTINGS, *PRETRAINING, *options.changes]
        teacher = trained(options.output / f"teacher-of-{stem}", dataset, settings, seed)
        start = [f"method.pretrained={teacher.path}"]
    settings = [*SETTINGS, *CO_TRAINING, *options.changes, *ARMS[name], *start]
    return trained(options.output / stem, dataset, settings, seed), teacher


def row(options: argparse.Namespace, name: str, seed: int) -> tuple[float, list[str]]:
    """Pooled Dice of an arm in percent, and the cells of its row."""
    dataset = dataset_of(options.output, seed, blank=name.endswith("blank"))
    run, teacher = arm(options, name, seed, dataset)
    dice = pooled_dice(Predictor.from_run(run.path), dataset)
    cells = [name, str(seed), f"{dice:.1f}"]
    if teacher is None:
        return dice, [*cells, "", "", ""]
    cells += ["{:.2f}, {:.2f}".format(*noise_errors(teacher)), f"{mask_factor(teacher, dataset):.1f}"]
    return dice, [*cells, "{:.2f}, {:.2f}".format(*spreads(run, dataset)) if options.spreads else ""]


def main() -> None:
    """Run what is missing, print the table."""
    options = arguments(__doc__, (0, 1, 2, 3), arms=list(ARMS), flags=["spreads"])
    print("| arm | seed | Dice % | error of the noise | another's mask, factor | std over noise, 1 and 16 |")
    print("|---|---|---|---|---|---|")
    for name in options.arms:
        scores = []
        for seed in options.seeds:
            dice, cells = row(options, name, seed)
            scores.append(dice)
            print(f"| {' | '.join(cells)} |", flush=True)
        print(f"| {name} | mean | {fmean(scores):.1f} | | | |", flush=True)


if __name__ == "__main__":
    main()
