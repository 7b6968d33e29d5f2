"""Run folders as a training, a prediction and an evaluation leave them, without any training."""

import csv

import numpy as np

from fewmask.config import load_experiment
from fewmask.data.dataset import Dataset
from fewmask.data.image import write_image
from fewmask.engine.job import describe
from fewmask.metrics import evaluate
from fewmask.run_folder import RunFolder
from fewmask.task import Task
from helpers import label_ending


def write_run(
    folder, root, method="supervised", shift=1, scored=True, iterations=60, validation=1, labelled=3, **settings
):
    """A finished run: logged curves, and test predictions that are the references moved by ``shift`` voxels."""
    dataset = Dataset.open(root)
    changes = {"method": {"name": method}, "train": {"iterations": iterations}, **settings}
    dims = dataset.spatial_dims
    task = Task(dims, len(dataset.channel_names), dataset.class_names, (16,) * dims, (1.0,) * dims)
    run = RunFolder(folder)
    split = dataset.split(labelled=labelled, validation=validation)
    run.create(load_experiment(None, changes), task, split, describe(dataset))
    _write_metrics(run.metrics, iterations, weighted=method != "supervised")
    if scored:
        predict_shifted(run, dataset, shift)
    return run.path


def predict_shifted(run, dataset, shift):
    for case in dataset.ids("test"):
        label = dataset.read_label(case)
        path = run.predictions / f"{case}{label_ending(dataset.file_ending)}"
        write_image(path, np.roll(label.data, shift, axis=0), label.geometry)
    evaluate(run.predictions, dataset.root / "labelsTs", dataset.class_names).write(run.predictions)


def _write_metrics(path, iterations, weighted):
    names = [
        "iteration",
        "phase",
        "lr",
        "loss",
        "ce",
        "dice_loss",
        *(["consistency_weight"] if weighted else []),
        "seconds",
    ]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [*names, "val_dice"])
        table.writeheader()
        for step in range(1, iterations + 1):
            row = dict.fromkeys(names, 1 / step) | {"iteration": step, "phase": "train", "seconds": 0.5 * step}
            table.writerow(row | ({"val_dice": 1 - 1 / step} if step % 20 == 0 else {}))
