"""How many of their errors the two networks of a run have in common, on the test scans of a data set.

    python benchmarks/shared_errors.py DATASET RUN [RUN ...]

Where both are wrong, each takes a wrong label from the other, so cross supervision has nothing to learn from; what it can gain lies in
the errors that only one of them makes. For runs that predict with the mean of two networks (``method.predict_with: mean``).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from fewmask import Dataset
from fewmask.allocator import keep_freed_memory
from fewmask.data.image import read_label
from fewmask.inference.predictor import Predictor
from fewmask.methods.base import SoftmaxPredictor
from fewmask.run_folder import RunFolder


def label_maps(folder: Path) -> dict[str, np.ndarray]:
    """Label maps by file name."""
    return {path.name: read_label(path).data for path in sorted(folder.iterdir()) if path.is_file()}


def predictions(run: Path, scans: Path) -> list[dict[str, np.ndarray]]:
    """What each network of a run says alone."""
    found = []
    folder = RunFolder.open(run)
    for network in Predictor.from_run(run).module.networks:
        channels = folder.dataset()["channel_names"]
        alone = Predictor(SoftmaxPredictor(network), folder.task(), folder.experiment(), channels)
        with tempfile.TemporaryDirectory() as name:
            alone.predict_files(scans, Path(name))
            found.append(label_maps(Path(name)))
    return found


def main() -> None:
    """Print a row a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    dataset = Dataset.open(options.dataset)
    truth = label_maps(dataset.root / "labelsTs")
    print("| run | errors of a network that the other makes too |\n|---|---|")
    for run in options.runs:
        first, second = predictions(run, dataset.root / "imagesTs")
        shares = []
        for name, labels in truth.items():
            wrong = [maps[name] != labels for maps in (first, second)]
            shares.append((wrong[0] & wrong[1]).sum() / (0.5 * (wrong[0].sum() + wrong[1].sum())))
        print(f"| {run} | {100 * fmean(shares):.1f} % |", flush=True)


if __name__ == "__main__":
    main()
