"""Race: `fewmask.metrics.score` against medpy's dc, jc, hd95, asd and assd, on real or made masks.

    python benchmarks/metrics_vs_medpy.py [--labels FOLDER] [--repeats 5]

Needs medpy (``pip install medpy``), which fewmask itself never does. The two take turns on every pair; the medians of their times and the
largest difference of any value are printed. fewmask computes one metric more (hd95_directed) in its time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from fewmask.data.image import read_label
from fewmask.metrics import score

try:
    from medpy.metric import binary as medpy
except ImportError as error:
    raise SystemExit("this race needs medpy as the other runner: pip install medpy") from error

Pair = tuple[str, np.ndarray, np.ndarray, tuple[float, ...]]
PEER = {"dice": medpy.dc, "jaccard": medpy.jc, "hd95": medpy.hd95, "asd": medpy.asd, "assd": medpy.assd}


def by_medpy(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    overlaps = {name: PEER[name](prediction, reference) for name in ("dice", "jaccard")}
    return overlaps | {name: PEER[name](prediction, reference, spacing) for name in ("hd95", "asd", "assd")}


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    grid = np.indices(shape, sparse=True)
    return sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) < radius**2


def made_pairs() -> Iterator[Pair]:
    rng = np.random.default_rng(0)
    for shape in ((128, 128, 64), (512, 512)):
        unit, skewed, dims = (1.0,) * len(shape), (0.7, 0.9, 2.5)[: len(shape)], f"{len(shape)}D"
        middle = tuple(n / 2 for n in shape)
        first, second = (
            ball(shape, middle, 0.3 * min(shape)),
            ball(shape, tuple(c + 3 for c in middle), 0.28 * min(shape)),
        )
        full = np.ones(shape, bool)
        yield f"{dims} balls", first, second, unit
        yield f"{dims} balls, mm", first, second, skewed
        yield f"{dims} ball in ball", first, ball(shape, middle, 0.1 * min(shape)), unit
        yield (
            f"{dims} far balls",
            ball(shape, tuple(0.2 * n for n in shape), 9),
            ball(shape, tuple(0.8 * n for n in shape), 9),
            unit,
        )
        yield f"{dims} whole image, ball", full, first, unit
        yield f"{dims} ball, whole image", first, full, skewed
        yield f"{dims} whole image twice", full, full, unit
        for share in (0.01, 0.3):
            yield f"{dims} noise {share:.0%}", rng.random(shape) < share, rng.random(shape) < share, unit
        yield f"{dims} noise 1%, ball", rng.random(shape) < 0.01, first, skewed


def real_pairs(folder: Path, most: int) -> Iterator[Pair]:
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith("."))[:most]:
        label = read_label(path)
        mask, spacing = label.data > 0, label.geometry.spacing
        name = path.name[:8]
        yield f"{name} shifted", np.roll(mask, 3, axis=0), mask, spacing
        yield f"{name} eroded", binary_erosion(mask, iterations=2), mask, (1.0,) * mask.ndim
        yield (
            f"{name} dilated, mm",
            binary_dilation(mask, iterations=3),
            mask,
            tuple(0.7 + 0.4 * n for n in range(mask.ndim)),
        )


def seconds(call: Callable[..., dict[str, float]], *arguments: object) -> tuple[float, dict[str, float]]:
    start = time.perf_counter()
    values = call(*arguments)
    return time.perf_counter() - start, values


def race(pair: Pair, repeats: int) -> tuple[float, float]:
    """Median time of medpy over that of fewmask, and the largest difference of a value."""
    name, *arguments = pair
    ours, theirs, difference = [], [], 0.0
    for _ in range(repeats):
        mine, values = seconds(score, *arguments)
        other, expected = seconds(by_medpy, *arguments)
        ours.append(mine)
        theirs.append(other)
        difference = max(difference, *(abs(values[key] - expected[key]) for key in PEER))
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(
        f"{name:26s} {1e3 * statistics.median(ours):9.1f} ms {1e3 * statistics.median(theirs):9.1f} ms {ratio:7.1f}x  {difference:.1e}"
    )
    return ratio, difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--labels", type=Path, help="a folder of label maps: each against shifted, eroded and dilated copies"
    )
    parser.add_argument("--cases", type=int, default=3, help="label maps of that folder to use")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    score(np.eye(4, dtype=bool), np.eye(4, dtype=bool))  # the imports are not part of the race
    print(f"{'pair':26s} {'fewmask':>12s} {'medpy':>12s} {'ratio':>8s}  largest difference")
    pairs = list(real_pairs(options.labels, options.cases)) if options.labels else []
    results = [race(pair, options.repeats) for pair in (*pairs, *made_pairs())]
    ratios = [ratio for ratio, _ in results]
    print(
        f"median {statistics.median(ratios):.1f}x, least {min(ratios):.1f}x, most {max(ratios):.1f}x; "
        f"largest difference {max(difference for _, difference in results):.1e}"
    )


if __name__ == "__main__":
    main()
