"""Methods against each other on one data set: trains, predicts and scores each under several seeds, and prints the table.

    python benchmarks/compare.py DATASET --recipe la/coarse --labelled 4 --ordered --output OUT
    python benchmarks/compare.py DATASET --recipe ph2/small --labelled 0.05 --output OUT

Every method sees the same split, the same labelled patches and the same number of iterations under a seed. A run that is done is not
done again and one that was stopped continues, so the work can be spread over processes that share OUT by giving each some of the methods
or seeds, and the table printed at the end by a call that names them all.

`fewmask bench run` does this for whole suites, on several machines, with tests and a report; this is what the ablation scripts build on. A
folder METHOD-seedN from here can be moved to where a suite wants it, and counts as done if its settings are the suite's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from fewmask import Dataset, Split
from fewmask.allocator import keep_freed_memory
from fewmask.config import load_experiment, merge, parse_assignment
from fewmask.engine.loggers import read_metrics
from fewmask.engine.train import train
from fewmask.inference.predictor import Predictor
from fewmask.metrics import evaluate
from fewmask.recipes import recipe_path

METRICS = {"dice": ("Dice %", 100), "jaccard": ("Jaccard %", 100), "hd95": ("HD95", 1), "asd": ("ASD", 1)}


def main() -> None:
    """Run what is missing, then print the table."""
    options = arguments()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    dataset = Dataset.open(options.dataset)
    rows = {}
    for seed in options.seeds:
        labelled = float(options.labelled) if "." in options.labelled else int(options.labelled)
        split = dataset.split(labelled=labelled, seed=seed, ordered=options.ordered)
        for method in options.methods:
            rows[method, seed] = run(options, dataset, split, method, seed)
    print(table(options.methods, options.seeds, rows))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--labelled", required=True, help="number or share of the training cases")
    parser.add_argument("--ordered", action="store_true", help="the first cases of training_order")
    parser.add_argument("--methods", nargs="+", default=["supervised", "mean-teacher", "ua-mt", "cps"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], dest="changes", help="KEY=VALUE for all methods")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--store", type=Path, help="folder for preprocessed cases")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def run(options: argparse.Namespace, dataset: Dataset, split: Split, method: str, seed: int) -> dict[str, Any]:
    """Train, predict and score one run, as far as that is not done; its mean scores and seconds of training."""
    folder = options.output / f"{method}-seed{seed}"
    summary = folder / "predictions" / "summary.json"
    if not summary.exists():
        changes: dict[str, Any] = {"method": {"name": method}, "train": {"seed": seed}}
        for change in options.changes:
            changes = merge(changes, parse_assignment(change))
        experiment = load_experiment(recipe_path(options.recipe), changes)
        train(experiment, dataset, split, folder, resume=True, store=options.store)
        Predictor.from_run(folder).predict_files(dataset.root / "imagesTs", folder / "predictions")
        unit = experiment.evaluation.unit
        evaluate(folder / "predictions", dataset.root / "labelsTs", dataset.class_names, unit=unit).write(
            folder / "predictions"
        )
    scores = json.loads(summary.read_text())["mean"]["metrics"]
    row = {name: factor * scores[name]["mean"] for name, (_, factor) in METRICS.items()}
    row["seconds"] = float(read_metrics(folder / "metrics.csv")[-1]["seconds"])
    print(f"{method} seed {seed}: Dice {row['dice']:.2f} %, {row['seconds']:.0f} s", flush=True)
    return row


def ablation(
    options: argparse.Namespace,
    dataset: Dataset,
    method: str,
    rows: dict[str, tuple[str, list[str]]],
    *,
    labelled: int,
    ordered: bool,
) -> None:
    """Run a method's rows, each with a folder and settings of its own before those of the command line, and print their table."""
    changes, output = options.changes, options.output
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in rows}
    for seed in options.seeds:
        split = dataset.split(labelled=labelled, seed=seed, ordered=ordered)
        for name, (folder, settings) in rows.items():
            options.changes, options.output = [*settings, *changes], output / folder
            found[name].append(run(options, dataset, split, method, seed))
    print("\n| row | Dice %, mean | per seed | HD95 | s |\n|---|---|---|---|---|")
    for name, each in found.items():
        means = {key: fmean(row[key] for row in each) for key in ("dice", "hd95", "seconds")}
        per_seed = ", ".join(f"{row['dice']:.1f}" for row in each)
        print(f"| {name} | {means['dice']:.1f} | {per_seed} | {means['hd95']:.1f} | {means['seconds']:.0f} |")


def table(methods: list[str], seeds: list[int], rows: dict[tuple[str, int], dict[str, Any]]) -> str:
    """Mean +- standard deviation over seeds, as Markdown."""
    lines = [f"| method | {' | '.join(title for title, _ in METRICS.values())} | Dice per seed | s |", "|---" * 7 + "|"]
    for method in methods:
        cells = []
        for name in METRICS:
            values = [rows[method, seed][name] for seed in seeds]
            cells.append(f"{fmean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}")
        each = ", ".join(f"{rows[method, seed]['dice']:.1f}" for seed in seeds)
        seconds = fmean(rows[method, seed]["seconds"] for seed in seeds)
        lines.append(f"| {method} | {' | '.join(cells)} | {each} | {seconds:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
