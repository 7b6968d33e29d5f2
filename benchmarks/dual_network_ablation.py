"""The terms of `uncertainty-dual-network` switched on and off, on a toy data set or on one of your own.

    python benchmarks/dual_network_ablation.py --output OUT [--dropout 0.1] [--seeds 0 1 2] [--variants NAME ...]
    python benchmarks/dual_network_ablation.py --dataset DATASET --recipe la/coarse --labelled 4 --output OUT

The rows are those of the paper's ablation (Table 4), where "without X" leaves out one of its four modules; besides them the pair that
learns from labels only, and all terms with the pseudo-label terms ramped up as the contrast is.

The toy: volumes of 32 x 32 x 32 with an ellipsoid to find, a ball that looks like it, much noise and a shifted brightness; 2 labelled, 14
unlabelled, 8 test; both networks of width 4, batch norm, 150 iterations. A run takes a quarter of a minute on one core.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from compare import ablation

from fewmask import Dataset
from fewmask.allocator import keep_freed_memory
from fewmask.data.phantom import Phantom, write_phantom
from fewmask.files import write_json

METHOD = "uncertainty-dual-network"
TERMS = ("cps", "efs", "ue", "contrast", "cr")
RAMPED = [f"method.{term}.{key}" for term in ("cps", "efs", "ue") for key in ("shape=gaussian", "steps=null")]
TOY = [
    "preprocess.spacing=keep",
    "sampling.patch_size=[32,32,32]",
    "network.width=4",
    "network.norm=batch",
    "train.iterations=150",
    "train.lr=0.01",
    "train.schedule=constant",
    "inference.stride=[32,32,32]",
]


def only(*terms: str) -> list[str]:
    """Settings that leave these unlabelled terms (and the consistency of the labelled half, `cr`) and no other."""
    return [
        f"method.{term}_weight=0" if term == "cr" else f"method.{term}.weight=0" for term in TERMS if term not in terms
    ]


VARIANTS = {
    "labels only": only(),
    "CPS only": only("cps"),
    "EFS only": only("efs"),
    "CCE (CPS + EFS)": only("cps", "efs"),
    "without CR": only("cps", "efs", "ue", "contrast"),
    "without UE": only("cps", "efs", "contrast", "cr"),
    "without PGL": only("cps", "efs", "ue", "cr"),
    "without CCE": only("ue", "contrast", "cr"),
    "all, as published": [],
    "all, ramped": RAMPED,
}


@dataclass(frozen=True)
class Toy(Phantom):
    """One bright ellipsoid, one ball that is almost as bright, noise, and an offset."""

    shape: tuple[int, ...] = (32, 32, 32)

    def scan(self, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Image ``(32, 32, 32)`` float32 and label uint8."""
        rng = np.random.default_rng([seed, number])
        grid = np.stack(np.meshgrid(*[np.arange(side) for side in self.shape], indexing="ij"), axis=-1)
        inside = (((grid - rng.uniform(10, 22, 3)) / rng.uniform(4, 9, 3)) ** 2).sum(-1) < 1
        ball = ((grid - rng.uniform(4, 28, 3)) ** 2).sum(-1) < 3**2
        image = np.where(inside, 1.0, np.where(ball, rng.uniform(0.5, 0.9), 0.0))
        image += rng.normal(0, 0.8, self.shape) + rng.uniform(-0.4, 0.4)
        return image.astype(np.float32), inside.astype(np.uint8)


def write_toy(folder: Path) -> Path:
    """The toy as a dataset folder of one class, written once."""
    if not (folder / "dataset.json").exists():
        write_phantom(folder, Toy(), train=2, unlabelled=14, test=8, spacing=1.0)
        description = json.loads((folder / "dataset.json").read_text())
        write_json(folder / "dataset.json", description | {"labels": {"background": 0, "ellipsoid": 1}})
    return folder


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help="default: the toy, written into OUT")
    parser.add_argument("--recipe", default="la/coarse", help="the toy takes what its own settings leave open")
    parser.add_argument("--labelled", default="2")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--dropout", type=float, default=0.1, help="of the toy's networks")
    parser.add_argument("--set", nargs="*", default=[], dest="changes", help="KEY=VALUE for all variants")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    toy = [*TOY, f"network.dropout={options.dropout}"] if options.dataset is None else []
    dataset = Dataset.open(options.dataset or write_toy(options.output / "Dataset999_Toy"))
    options.store = None
    rows = {name: (name.replace(" ", "-"), [*toy, *VARIANTS[name]]) for name in options.variants}
    ordered = options.dataset is not None
    ablation(options, dataset, METHOD, rows, labelled=int(options.labelled), ordered=ordered)


if __name__ == "__main__":
    main()
