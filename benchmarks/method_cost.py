"""Multiply-adds of each method's training step as a multiple of those of `supervised`: the column "cost" of `fewmask methods`.

    python benchmarks/method_cost.py [METHOD ...]

Counted by torch: convolutions and matrix products, forward and backward, of all turns of a step of the last phase, with default settings,
2 labelled and 2 unlabelled patches; in 2D of 32 x 32 pixels where the method has 2D. Norms, losses and what runs on no tensor are not in it.
"""

from __future__ import annotations

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode

from fewmask.config import MethodSection, NetworkConfig
from fewmask.methods import METHODS, Batch, Method, Progress, build_method
from fewmask.task import Task

SIDES = {2: (32, 32), 3: (16, 16, 16)}


def step_cost(name: str, dims: int) -> int:
    """Operations of one step."""
    torch.manual_seed(0)
    task = Task(dims, 1, ("background", "object"), SIDES[dims], (1.0,) * dims)
    method: Method = build_method(task, MethodSection(name=name), NetworkConfig()).train()
    phase = method.phases()[-1]
    unlabelled = 2 if method.uses_unlabelled else 0
    labels = torch.zeros(2, *SIDES[dims], dtype=torch.int64)
    labels[:, 8:20] = 1
    views = torch.randn(unlabelled, 1, *SIDES[dims])
    labelled = torch.randn(2, 1, *SIDES[dims]) + labels[:, None]
    batch = Batch(labelled, labels, views, views if method.strong_views else None, tuple("abcd"[: 2 + unlabelled]))
    with FlopCounterMode(display=False) as counter:
        for turn in method.turns(phase.name):
            method.zero_grad(set_to_none=True)
            method(batch, Progress(99, 100, phase.name, turn.name)).loss.backward()
    return counter.get_total_flops()


def relative_cost(name: str) -> float:
    """As a multiple of supervised, in the same dimensions."""
    dims = METHODS[name].spatial_dims[0]
    return step_cost(name, dims) / step_cost("supervised", dims)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(METHODS))
    print("| method | cost |\n|---|---|")
    for name in parser.parse_args().methods:
        print(f"| {name} | {relative_cost(name):.2f} |")


if __name__ == "__main__":
    main()
