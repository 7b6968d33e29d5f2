"""Race: `fewmask.metrics.score` against medpy's dc, jc, hd95 and asd, on real or made masks.

    python benchmarks/metrics_vs_medpy.py [--labels FOLDER] [--cases 3] [--repeats 3]

Needs medpy (``pip install medpy``), which fewmask itself never does. The two take turns on every pair; the medians of
their times and the largest difference of any value are printed. fewmask's time includes hd95_directed and assd; medpy's
assd is compared as well, but outside the clock, because the papers do not call it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from fewmask.data.image import SUFFIXES, read_label
from fewmask.metrics import score

try:
    from medpy.metric import binary as medpy
except ImportError as error:
    raise SystemExit("this race needs medpy as the other runner: pip install medpy") from error

Pair = tuple[str, np.ndarray, np.ndarray, tuple[float, ...]]


def by_medpy(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """The four metrics of medpy, by fewmask's names."""
    return {
        "dice": medpy.dc(prediction, reference),
        "jaccard": medpy.jc(prediction, reference),
        "hd95": medpy.hd95(prediction, reference, spacing),
        "asd": medpy.asd(prediction, reference, spacing),
    }


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    """The voxels of a grid that lie nearer than ``radius`` to ``centre``, all in voxels."""
    grid = np.indices(shape, sparse=True)
    return sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) < radius**2


def made_pairs() -> Iterator[Pair]:
    """Balls, whole images and noise in 3D and 2D: masks that overlap much, little and not at all, smooth and ragged."""
    rng = np.random.default_rng(0)
    for shape in ((128, 128, 64), (512, 512)):
        dims, side = f"{len(shape)}D", min(shape)
        unit, skewed = (1.0,) * len(shape), (0.7, 0.9, 2.5)[: len(shape)]
        middle, corner = tuple(n / 2 for n in shape), tuple(n / 5 for n in shape)
        first, full = ball(shape, middle, 0.3 * side), np.ones(shape, bool)
        second = ball(shape, tuple(c + 3 for c in middle), 0.28 * side)
        yield f"{dims} balls", first, second, unit
        yield f"{dims} balls, mm", first, second, skewed
        yield f"{dims} ball in ball", first, ball(shape, middle, 0.1 * side), unit
        yield f"{dims} far balls", ball(shape, corner, 9), ball(shape, tuple(4 * c for c in corner), 9), unit
        yield f"{dims} whole image, ball", full, first, unit
        yield f"{dims} ball, whole image", first, full, skewed
        yield f"{dims} whole image twice", full, full, unit
        for share in (0.01, 0.3):
            yield f"{dims} noise {share:.0%}", rng.random(shape) < share, rng.random(shape) < share, unit
        yield f"{dims} noise 1%, ball", rng.random(shape) < 0.01, first, skewed


def real_pairs(folder: Path, most: int) -> Iterator[Pair]:
    """The first ``most`` label maps of a folder, each against itself shifted, eroded and dilated."""
    paths = sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES))
    for path in paths[:most]:
        label = read_label(path)
        mask, spacing, name = label.data > 0, label.geometry.spacing, path.name[:8]
        unit, skewed = (1.0,) * mask.ndim, (0.7, 1.1, 1.5)[: mask.ndim]
        yield f"{name} shifted", np.roll(mask, 3, axis=0), mask, spacing
        yield f"{name} eroded", binary_erosion(mask, iterations=2), mask, unit
        yield f"{name} dilated, mm", binary_dilation(mask, iterations=3), mask, skewed


def timed(call: Callable[..., dict[str, Any]], *arguments: Any) -> tuple[float, dict[str, Any]]:
    """Seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    values = call(*arguments)
    return time.perf_counter() - start, values


def race(pair: Pair, repeats: int) -> tuple[float, float]:
    """Median time of medpy over that of fewmask, and the largest difference of a value."""
    name, *arguments = pair
    ours, theirs = [], []
    for _ in range(repeats):
        mine, values = timed(score, *arguments)
        other, expected = timed(by_medpy, *arguments)
        ours.append(mine)
        theirs.append(other)
    expected["assd"] = medpy.assd(*arguments)
    difference = max(abs(values[key] - expected[key]) for key in expected)
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"{name:26s} {1e3 * mine:9.1f} ms {1e3 * other:9.1f} ms {other / mine:7.1f}x  {difference:.1e}", flush=True)
    return other / mine, difference


def main() -> None:
    """Race every pair and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, help="folder of label maps to shift, erode and dilate")
    parser.add_argument("--cases", type=int, default=3, help="label maps of that folder to use")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    score(np.eye(4, dtype=bool), np.eye(4, dtype=bool)[::-1])  # imports are not part of the race
    pairs = list(real_pairs(options.labels, options.cases)) if options.labels else []
    print(f"{'pair':26s} {'fewmask':>12s} {'medpy':>12s} {'ratio':>8s}  largest difference")
    ratios, differences = zip(*(race(pair, options.repeats) for pair in (*pairs, *made_pairs())), strict=True)
    print(f"ratio: median {statistics.median(ratios):.1f}x, least {min(ratios):.1f}x, most {max(ratios):.1f}x")
    print(f"largest difference: {max(differences):.1e}")


if __name__ == "__main__":
    main()
