"""Race: Dice, Jaccard, HD95 and ASD at once, against medpy's dc, jc, hd95 and asd and against MONAI's equivalents.

    python benchmarks/metrics.py [--labels FOLDER ...] [--cases 3] [--repeats 3] [--groups NAME ...] [--clock cpu]

Needs medpy and MONAI (``pip install medpy monai``), which fewmask itself never does. The runners take turns on every pair of masks, so
that a busy moment of the machine meets all of them; medians of their times and the largest difference of any value are printed. All of them
compute on one thread, so on a busy machine ``--clock cpu`` gives steadier ratios than the clock on the wall.

fewmask's time includes hd95_directed and assd. Its dice, jaccard, hd95 and asd are compared with medpy's, which mean the same. MONAI
computes in float32, and its HD95 is another number: the larger of the two directed percentiles, here ``hd95_directed``; its HD95 and
its one-way average surface distance are compared with ours under their own names. Building MONAI's one-hot tensors is not in its time.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from fewmask.data.image import SUFFIXES, read_label
from fewmask.metrics import score, score_labels

try:
    import torch
    from medpy.metric import binary as medpy
    from monai import metrics as monai
except ImportError as error:
    raise SystemExit(
        f"this race needs medpy and MONAI as the other runners ({error}): pip install medpy monai"
    ) from None

ORGAN_SHAPE = (240, 160, 88)
HOSTILE = "noise, whole volumes"
Values = dict[str, list[float]]


class Pair(NamedTuple):
    """Two label maps ``(*S)`` uint8 with the classes 0 to ``classes - 1``."""

    group: str
    name: str
    prediction: np.ndarray
    reference: np.ndarray
    spacing: tuple[float, ...]
    classes: int = 2


def by_fewmask(pair: Pair) -> Values:
    """All metrics of every foreground class."""
    if pair.classes == 2:
        return {name: [value] for name, value in score(pair.prediction, pair.reference, pair.spacing).items()}
    scores = score_labels(pair.prediction, pair.reference, pair.classes, pair.spacing).values()
    return {name: [one.metrics[name] for one in scores] for name in ("dice", "jaccard", "hd95", "hd95_directed", "asd")}


def by_medpy(pair: Pair) -> Values:
    """The four calls of the field, class by class."""
    values: Values = {"dice": [], "jaccard": [], "hd95": [], "asd": []}
    for value in range(1, pair.classes):
        prediction, reference = pair.prediction == value, pair.reference == value
        values["dice"].append(medpy.dc(prediction, reference))
        values["jaccard"].append(medpy.jc(prediction, reference))
        values["hd95"].append(medpy.hd95(prediction, reference, pair.spacing))
        values["asd"].append(medpy.asd(prediction, reference, pair.spacing))
    return values


def by_monai(one_hot: tuple[Any, Any], spacing: tuple[float, ...]) -> Values:
    """MONAI's four functions on one-hot tensors ``(1, K, *S)``."""
    found = {
        "dice": monai.compute_dice(*one_hot, include_background=False),
        "jaccard": monai.compute_iou(*one_hot, include_background=False),
        "hd95_directed": monai.compute_hausdorff_distance(*one_hot, percentile=95, spacing=spacing),
        "asd": monai.compute_average_surface_distance(*one_hot, spacing=spacing),
    }
    return {name: values[0].tolist() for name, values in found.items()}


def one_hot(labels: np.ndarray, classes: int) -> Any:
    """Indicator maps ``(1, K, *S)`` as MONAI takes them."""
    return torch.nn.functional.one_hot(torch.from_numpy(labels.astype(np.int64)), classes).movedim(-1, 0)[None].float()


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    """The voxels of a grid that lie nearer than ``radius`` to ``centre``, all in voxels."""
    grid = np.indices(shape, sparse=True)
    return sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) < radius**2


def organ_pair(
    shape: tuple[int, ...], rng: np.random.Generator, centre: tuple[float, ...], radius: float, unlike: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """A dented ball, and another reader's outline of it: part ``unlike`` of its dents are his own."""
    grid = np.indices(shape, sparse=True)
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)))
    dents, other = (gaussian_filter(rng.normal(size=shape).astype(np.float32), 4) for _ in range(2))
    first, second = (0.15 * radius * field / dents.std() for field in (dents, (1 - unlike) * dents + unlike * other))
    return distance + first < radius, distance + second < radius


def organs(rng: np.random.Generator) -> Iterator[Pair]:
    """Outlines of three sizes, with cubic voxels and with thick slices; a stray piece; two readers who hardly agree."""
    centre = tuple(side / 2 for side in ORGAN_SHAPE)
    for radius, name in ((36, "large"), (20, "middle"), (8, "small")):
        pair = organ_pair(ORGAN_SHAPE, rng, centre, radius)
        yield Pair("3D organs", name, *pair, (0.625, 0.625, 0.625))
        yield Pair("3D organs", f"{name}, thick slices", *pair, (0.7, 0.7, 2.5))
    stray = pair[0] | ball(ORGAN_SHAPE, (12, 12, 12), 3)
    yield Pair("3D organs", "small, with a stray piece", stray, pair[1], (0.625, 0.625, 0.625))
    poor = organ_pair(ORGAN_SHAPE, rng, centre, 36, unlike=1.0)
    yield Pair("3D organs", "large, poor agreement", *poor, (0.625, 0.625, 0.625))


def images(rng: np.random.Generator) -> Iterator[Pair]:
    """The same in 2D, and many small objects."""
    shape, unit = (512, 512), (1.0, 1.0)
    for radius, name in ((160, "large"), (60, "middle"), (15, "small")):
        yield Pair("2D 512 x 512", name, *organ_pair(shape, rng, (250, 260), radius), unit)
    nuclei = [organ_pair(shape, rng, tuple(centre), 12) for centre in rng.uniform(12, 500, (40, 2))]
    both = [np.logical_or.reduce(masks) for masks in zip(*nuclei, strict=True)]
    yield Pair("2D 512 x 512", "40 nuclei", *both, unit)
    yield Pair("2D 512 x 512", "large, poor agreement", *organ_pair(shape, rng, (250, 260), 160, unlike=1.0), unit)


def many_organs(rng: np.random.Generator) -> Iterator[Pair]:
    """Two label maps of 13 organs."""
    maps = [np.zeros(ORGAN_SHAPE, np.uint8) for _ in range(2)]
    for value in range(1, 14):
        radius = float(rng.uniform(6, 22))
        centre = rng.uniform(radius, np.array(ORGAN_SHAPE) - radius)
        for labels, mask in zip(maps, organ_pair(ORGAN_SHAPE, rng, tuple(centre), radius), strict=True):
            labels[mask] = value
    yield Pair("13 organs", "one label map", *maps, (0.8, 0.8, 2.0), 14)


def hostile(rng: np.random.Generator) -> Iterator[Pair]:
    """Masks whose surfaces are many voxels, or far from each other: where a search over surface voxels is at its worst."""
    for shape in ((128, 128, 64), (512, 512)):
        dims, unit, skewed = f"{len(shape)}D", (1.0,) * len(shape), (0.7, 0.9, 2.5)[: len(shape)]
        blob, whole = ball(shape, tuple(side / 2 for side in shape), 0.3 * min(shape)), np.ones(shape, bool)
        half = whole.copy()
        half[shape[0] // 2 :] = False
        corner = np.zeros(shape, bool)
        corner[(0,) * len(shape)] = True
        for share in (0.001, 0.01, 0.05, 0.3, 0.7):
            yield Pair(
                "noise, whole volumes",
                f"{dims} noise {share:.1%}",
                rng.random(shape) < share,
                rng.random(shape) < share,
                unit,
            )
        yield Pair(HOSTILE, f"{dims} noise 1%, ball", rng.random(shape) < 0.01, blob, skewed)
        yield Pair(HOSTILE, f"{dims} ball, noise 1%", blob, rng.random(shape) < 0.01, unit)
        yield Pair(HOSTILE, f"{dims} whole, ball", whole, blob, unit)
        yield Pair(HOSTILE, f"{dims} ball, whole", blob, whole, skewed)
        yield Pair(HOSTILE, f"{dims} whole twice", whole, whole, unit)
        yield Pair(HOSTILE, f"{dims} whole, half", whole, half, skewed)
        yield Pair(HOSTILE, f"{dims} whole, one voxel", whole, corner, unit)
        yield Pair(HOSTILE, f"{dims} ball in ball", blob, ball(shape, tuple(s / 2 for s in shape), 4), unit)


def real(folder: Path, most: int) -> Iterator[Pair]:
    """Label maps of a folder, each against itself shifted, eroded, dilated and with a rough outline."""
    for path in sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES))[:most]:
        label = read_label(path)
        mask, name, group = label.data > 0, path.name[:8], f"real: {folder.resolve().parent.name}"
        spacing, skewed = label.geometry.spacing[: mask.ndim], (0.7, 1.1, 1.5)[: mask.ndim]
        rough = gaussian_filter(mask.astype(np.float32), 2) + np.random.default_rng(0).normal(0, 0.03, mask.shape)
        yield Pair(group, f"{name} shifted", np.roll(mask, 3, axis=0), mask, spacing)
        yield Pair(group, f"{name} eroded", binary_erosion(mask, iterations=2), mask, spacing)
        yield Pair(group, f"{name} dilated, mm", binary_dilation(mask, iterations=3), mask, skewed)
        yield Pair(group, f"{name} rough", rough > 0.5, mask, spacing)


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def timed(clock: Callable[[], float], call: Callable[..., Values], *arguments: Any) -> tuple[float, Values]:
    """Seconds that a call takes, and what it returns."""
    start = clock()
    values = call(*arguments)
    return clock() - start, values


def difference(mine: Values, theirs: Values) -> float:
    """The largest difference between values of one name."""
    return max(abs(a - b) for name in theirs for a, b in zip(mine[name], theirs[name], strict=True))


class Result(NamedTuple):
    """Ratios of times and largest differences, to medpy and to MONAI."""

    ratios: tuple[float, float]
    differences: tuple[float, float]


def race(pair: Pair, repeats: int, clock: Callable[[], float]) -> Result:
    """Race one pair and print it."""
    tensors = tuple(one_hot(labels, pair.classes) for labels in (pair.prediction, pair.reference))
    runners = ((by_fewmask, (pair,)), (by_medpy, (pair,)), (by_monai, (tensors, pair.spacing)))
    runs = [[timed(clock, call, *arguments) for call, arguments in runners] for _ in range(repeats)]
    seconds = [statistics.median(run[runner][0] for run in runs) for runner in range(3)]
    mine, medpys, monais = (values for _, values in runs[0])
    result = Result(
        (seconds[1] / seconds[0], seconds[2] / seconds[0]), (difference(mine, medpys), difference(mine, monais))
    )
    times = " ".join(f"{1e3 * one:10.1f}" for one in seconds)
    print(
        f"{pair.name:28s} {times}   {result.ratios[0]:7.1f}x {result.ratios[1]:7.1f}x   "
        f"{result.differences[0]:.0e} {result.differences[1]:.0e}",
        flush=True,
    )
    return result


def main() -> None:
    """Race every pair and print the ratios of each group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="folders of real label maps")
    parser.add_argument("--cases", type=int, default=3, help="label maps of each folder to use")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--groups", nargs="*", help="only the groups whose names hold one of these words")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    seeded = [maker(np.random.default_rng(seed)) for seed, maker in enumerate((organs, images, many_organs, hostile))]
    warm = Pair("", "", np.eye(4, dtype=bool), np.eye(4, dtype=bool)[::-1], (1.0, 1.0))
    by_fewmask(warm), by_medpy(warm)  # imports are not part of the race
    results: dict[str, list[Result]] = {}
    for pair in chain(*(real(folder, options.cases) for folder in options.labels), *seeded):
        if not options.groups or any(word in pair.group for word in options.groups):
            if pair.group not in results:
                print(f"\n{pair.group:28s} fewmask ms   medpy ms   MONAI ms     medpy    MONAI   largest differences")
            results.setdefault(pair.group, []).append(race(pair, options.repeats, CLOCKS[options.clock]))
    summary = [row(group, found) for group, found in results.items()]
    print("\n| masks | to medpy: median (least) | to MONAI: median (least) | largest difference, medpy | MONAI |")
    print("|---|---|---|---|---|", *summary, sep="\n")


def row(group: str, results: list[Result]) -> str:
    """A group as a row of a Markdown table."""
    cells = [
        f"{statistics.median(ratios):.1f}x ({min(ratios):.1f}x)"
        for ratios in zip(*(r.ratios for r in results), strict=True)
    ]
    worst = [f"{max(values):.0e}" for values in zip(*(r.differences for r in results), strict=True)]
    return f"| {group} ({len(results)}) | {' | '.join([*cells, *worst])} |"


if __name__ == "__main__":
    main()
