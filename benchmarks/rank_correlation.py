"""Whether the scans that `fewmask rank` doubts are those that a model gets wrong.

    python benchmarks/rank_correlation.py DATASET RUN [RUN ...]

For data sets whose hidden labels are there: Spearman's correlation, over the unlabelled scans, between what is known without a label and
1 - the true Dice, both mean over the models. Beside the entropy and the disagreement of `fewmask rank` stand other regions for the entropy,
and the size of what was found.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from fewmask import Dataset
from fewmask.allocator import keep_freed_memory
from fewmask.inference.predictor import Predictor
from fewmask.inference.rank import Model, models_of
from fewmask.inference.select import disagreement, foreground_doubt
from fewmask.run_folder import RunFolder


def known_of(models: list[Model], dataset: Dataset, case: str) -> dict[str, float]:
    """What is known of a scan without its label, and its error."""
    image, maps, doubts = dataset.read(case), [], []
    for model in models:
        entropy = np.empty(image.geometry.shape, dtype=np.float32)
        maps.append(model.predictor.segment(image, uncertainty=entropy))
        doubts.append((entropy, maps[-1] > 0))
    classes, label = len(dataset.class_names), dataset.read_label(case).data
    parts = {
        "entropy (of rank)": [foreground_doubt(entropy, found) for entropy, found in doubts],
        "entropy of the predicted foreground": [
            entropy[found].mean() if found.any() else 0 for entropy, found in doubts
        ],
        "entropy of the whole scan": [entropy.mean() for entropy, _ in doubts],
        "few voxels found": [-found.sum() for _, found in doubts],
    }
    values = {name: float(np.mean(of_models)) for name, of_models in parts.items()}
    if len(models) > 1:
        values["disagreement (of rank)"] = disagreement(maps, classes)
    return {**values, "error": float(np.mean([disagreement([found, label], classes) for found in maps]))}


def main() -> None:
    """Print a row a number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    dataset = Dataset.open(options.dataset)
    cases = RunFolder.open(options.runs[0]).split().unlabelled
    models = list(itertools.chain(*(models_of(run.name, Predictor.from_run(run)) for run in options.runs)))
    rows = [known_of(models, dataset, case) for case in cases]
    errors = [row["error"] for row in rows]
    print(f"{len(cases)} scans, {len(models)} models, mean Dice {100 * (1 - np.mean(errors)):.1f} %")
    print("| known without a label | Spearman with 1 - Dice | mean Dice % of the first ten |\n|---|---|---|")
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        worst = np.argsort(-values, kind="stable")[:10]
        dice = 100 * (1 - np.mean([errors[index] for index in worst]))
        print(f"| {name} | {spearmanr(values, errors)[0]:.2f} | {dice:.1f} |", flush=True)


if __name__ == "__main__":
    main()
