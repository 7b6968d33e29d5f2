"""A mean teacher in one file, to be read from top to bottom: few labelled scans, many without labels, under a minute on a laptop.

fewmask's engine does the same and more (stores, checkpoints, validation, many methods); here is what lies at the heart of it, as a
plain PyTorch loop over fewmask's components.

    python examples/minimal_mean_teacher.py
    python examples/minimal_mean_teacher.py --consistency 0     # the same without the unlabelled scans

So short a run shows how it works; what unlabelled scans gain is a question for several seeds (docs/results.md).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from fewmask.components.ema import Teacher
from fewmask.components.losses import softmax_mse, supervised_loss
from fewmask.components.noise import consistency_noise
from fewmask.components.ramps import gaussian_rampup
from fewmask.config import AugmentConfig, NetworkConfig, SamplingConfig
from fewmask.data.phantom import CLASSES, Phantom
from fewmask.data.sampling import BatchStream, Streams
from fewmask.inference.sliding_window import sliding_window
from fewmask.metrics import score
from fewmask.networks import build_network
from fewmask.task import Task

PATCH = (64, 64)
LABELLED = [f"labelled {n}" for n in range(3)]
UNLABELLED = [f"unlabelled {n}" for n in range(40)]
TEST = [f"test {n}" for n in range(10)]


class Scans:
    """Synthetic scans in memory: what `BatchStream` draws patches from. Any class with these three methods will do."""

    def __init__(self, seed: int) -> None:
        self.images: dict[str, np.ndarray] = {}
        self.labels: dict[str, np.ndarray] = {}
        phantom = Phantom(shape=(96, 96))
        for number, name in enumerate([*LABELLED, *UNLABELLED, *TEST]):
            image, label = phantom.scan(seed, number)
            self.images[name] = ((image - image.mean()) / image.std())[None]  # (1, rows, columns)
            if name not in UNLABELLED:  # what is not there cannot leak into the training
                self.labels[name] = label

    def image(self, case: str) -> np.ndarray:
        """The image ``(C, *S)``."""
        return self.images[case]

    def label(self, case: str) -> np.ndarray:
        """The label ``(*S)``; asked for labelled cases only."""
        return self.labels[case]

    def foreground(self, case: str) -> np.ndarray:
        """Foreground pixels as rows of class and index, around which some of the patches are centred."""
        where = np.argwhere(self.labels[case])
        return np.column_stack([self.labels[case][tuple(where.T)], where])


def train(scans: Scans, task: Task, iterations: int, weight: float, seed: int) -> torch.nn.Module:
    """The student after training: it fits the labels and agrees with the average of its own past weights on the rest."""
    stream = BatchStream(
        scans,
        Streams(LABELLED, UNLABELLED, seed),
        PATCH,
        SamplingConfig(labelled=4, unlabelled=4, foreground=0.5),
        AugmentConfig(rotate_flip=True),
        channels=task.in_channels,
    )
    student = build_network(task, NetworkConfig(name="unet-2d", width=8))
    teacher = Teacher(student, decay=0.99)
    optimiser = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, iterations, power=0.9)
    for iteration in range(iterations):
        batch = stream.batch(iteration)  # a function of the seed and the iteration alone
        # Both halves in one pass, so that batch norm sees them together.
        logits = student(batch.images)
        labelled, unlabelled = logits[: len(batch.labels)], logits[len(batch.labels) :]
        ce, dice = supervised_loss(labelled, batch.labels)
        # The teacher looks at the same patches under its own noise; no gradient goes through it.
        target = teacher(consistency_noise(batch.unlabelled))
        consistency = softmax_mse(unlabelled, target).mean()
        # Early on the teacher knows nothing yet, so its weight grows from almost nothing.
        ramp = weight * gaussian_rampup(iteration, 0.5 * iterations)
        loss = 0.5 * ce + 0.5 * dice + ramp * consistency
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        teacher.update(student)
        if iteration % max(iterations // 5, 1) == 0:
            print(f"iteration {iteration:4d}  loss {loss.item():.3f}  consistency {consistency.item():.5f}")
    return student


def test_dice(network: torch.nn.Module, scans: Scans, task: Task) -> dict[str, float]:
    """Mean Dice of each class over the test scans, predicted patch by patch."""
    predictor = torch.nn.Sequential(network, torch.nn.Softmax(dim=1)).eval()
    dice: dict[str, list[float]] = {name: [] for name in task.class_names[1:]}
    for case in TEST:
        image = torch.from_numpy(scans.image(case))
        probabilities = sliding_window(image, predictor, PATCH, stride=(32, 32), weighting="gaussian")
        prediction = probabilities.argmax(0).numpy()
        for value, name in enumerate(task.class_names[1:], start=1):
            dice[name].append(score(prediction == value, scans.label(case) == value)["dice"])
    return {name: float(np.mean(values)) for name, values in dice.items()}


def main() -> None:
    """Make scans, train, test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--consistency", type=float, default=0.1, help="weight of the consistency loss; 0: supervised")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    scans = Scans(options.seed)
    task = Task(2, 1, CLASSES, PATCH, (1.0, 1.0))
    student = train(scans, task, options.iterations, options.consistency, options.seed)
    dice = test_dice(student, scans, task)
    print("Dice on the test scans: " + ", ".join(f"{name} {value:.3f}" for name, value in dice.items()))


if __name__ == "__main__":
    main()
