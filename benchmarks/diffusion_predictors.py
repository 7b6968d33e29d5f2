"""Who predicts in a trained `diff-cl` run: the convolution network, the diffusion network with some steps of DDIM, or the mean of both.

    python benchmarks/diffusion_predictors.py RUN DATASET --steps 1 2 5 10 [--seeds 0 1] [--cases 4]

Both networks are in the run's training state, so nothing is trained again. Prints the mean Dice over the test cases (and foreground
classes) and the seconds a scan takes, preparation of the scan included. Rows of the diffusion network with several noise seeds give
the standard deviation of the mean Dice between seeds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import torch

from fewmask import Dataset
from fewmask.allocator import keep_freed_memory
from fewmask.config import merge
from fewmask.engine.checkpoint import load_state
from fewmask.inference.predictor import Predictor
from fewmask.methods import build_method
from fewmask.run_folder import RunFolder


def predictor_of(run: RunFolder, **settings: Any) -> Predictor:
    """The predictor that a run would have had under other settings of its method."""
    experiment = run.experiment()
    section = type(experiment.method)(**merge(experiment.method.model_dump(), settings))
    method = build_method(run.task(), section, experiment.network)
    method.load_state_dict(load_state(run.state)["method"])
    return Predictor(method.predictor(), run.task(), experiment, run.dataset()["channel_names"])


def measure(predictor: Predictor, dataset: Dataset, cases: list[str]) -> tuple[float, float]:
    """Mean Dice in percent and median seconds a scan."""
    scores, seconds = [], []
    for name in cases:
        image, label = dataset.read(name), dataset.read_label(name).data
        began = time.perf_counter()
        found = predictor.segment(image)
        seconds.append(time.perf_counter() - began)
        for value in range(1, predictor.task.num_classes):
            mine, true = found == value, label == value
            scores.append(2 * (mine & true).sum() / max(mine.sum() + true.sum(), 1))
    return 100 * fmean(scores), median(seconds)


def main() -> None:
    """Measure every choice, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 5, 10])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the noise")
    parser.add_argument("--cases", type=int, help="only the first test cases")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    dataset, run = Dataset.open(options.dataset), RunFolder.open(options.run)
    cases = dataset.ids("test", labelled=True)[: options.cases]
    choices: list[tuple[str, dict[str, Any]]] = [("cs", {"predict_with": "cs"})]
    for which in ("ds", "mean"):
        choices += [(f"{which}, steps: {n}", {"predict_with": which, "ddim_steps": n}) for n in options.steps]
    print("| predicts | Dice % | s a scan |\n|---|---|---|")
    for name, settings in choices:
        seeds = options.seeds if settings["predict_with"] != "cs" else [0]
        found = [measure(predictor_of(run, **settings, noise_seed=seed), dataset, cases) for seed in seeds]
        spread = f" ± {stdev(dice for dice, _ in found):.2f}" if len(found) > 1 else ""
        print(
            f"| {name} | {fmean(dice for dice, _ in found):.2f}{spread} | {median(s for _, s in found):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
