"""Run folders of several methods and seeds whose scores are known."""

import numpy as np

from fewmask.bench.report.content import BenchRun
from fewmask.metrics.evaluation import Evaluation, Row
from fewmask.metrics.score import DISTANCES, metric_names
from fewmask.run_folder import RunFolder
from report.fake_runs import write_run

METHODS = {"supervised": "supervised", "cps": "cps", "half-cps": "cps"}
GAINS = {"supervised": 0.0, "cps": 0.1, "half-cps": 0.0}


def dice_of(label, seed, cases, labelled=2):
    """``(cases,)``: a case's own difficulty, what the label and the labels gain, and noise."""
    hard = np.random.default_rng(7).uniform(0.5, 0.8, cases)
    rng = np.random.default_rng([seed, labelled, *map(ord, label)])
    return hard + GAINS[label] + 0.02 * labelled + rng.normal(0, 0.01, cases)


def put_scores(run, dice, unit="voxel"):
    """Scores of one class, in the order of the test cases."""
    rows = []
    for number, value in enumerate(dice):
        metrics = {name: 20 * (1 - value) if name in DISTANCES else value for name in metric_names()}
        rows.append(Row(f"test_{number:03d}", "class 1", "found", metrics))
    Evaluation(tuple(rows), ("class 1",), unit).write(RunFolder(run).predictions, overwrite=True)


def write_bench(folder, root, cases, labels=METHODS, seeds=(0, 1), amounts=(2,), scored=True):
    """``folder/data/<labelled>/<label>-seed<k>``, with predictions that are shifted references, and known scores."""
    runs = []
    for labelled in amounts:
        for label in labels:
            for seed in seeds:
                path = folder / "data" / str(labelled) / f"{label}-seed{seed}"
                settings = {"train": {"iterations": 8, "seed": seed}}
                write_run(
                    path, root, METHODS[label], labelled=labelled, validation=0, iterations=8, scored=scored, **settings
                )
                if scored:
                    put_scores(path, dice_of(label, seed, cases, labelled))
                runs.append(BenchRun(path, label))
    return runs
