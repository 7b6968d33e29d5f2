"""What the latents of a trained `semigda` run are worth: each branch's Dice with its own latent, and with that of another image.

    python benchmarks/latent_reliance.py RUN DATASET [--cases 30]

The adapters' features stay those of the image. Where the Dice stays too, the decoder draws the mask from them alone, and the network that finds
the latent could be left out. Another image is the one before it (another window, where images are larger than the patch).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusion_predictors import measure, predictor_of
from torch import Tensor, nn

from fewmask import Dataset
from fewmask.components.latent_branches import BRANCHES, BranchName, BranchPredictor
from fewmask.run_folder import RunFolder


class Swapped(nn.Module):
    """One branch that decodes the latent of the image before.

    Args:
        whole: the trained predictor.
        branch: which branch.
    """

    def __init__(self, whole: BranchPredictor, branch: BranchName) -> None:
        super().__init__()
        self.whole, self.branch, self.before = whole, branch, None

    def forward(self, image: Tensor) -> Tensor:
        """Shares of the classes ``(B, K, H, W)``; of the first image ever with its own latent."""
        branches = self.whole.branches
        own = branches.find(self.branch, branches.prepare(image))
        latent = own.latent if self.before is None else self.before
        self.before = own.latent
        return self.whole.code.shares(branches.decode(self.branch, own._replace(latent=latent)))


def reliance(run: RunFolder, dataset: Dataset, branch: BranchName, cases: list[str]) -> tuple[float, float]:
    """Mean Dice in percent of a branch, and of the same with the latents of other images."""
    predictor = predictor_of(run, predict_with=branch)
    own = measure(predictor, dataset, cases)[0]
    swapped = predictor.of(Swapped(predictor.module, branch))
    swapped.segment(dataset.read(cases[-1]))  # so that the first case has one before it, too
    return own, measure(swapped, dataset, cases)[0]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cases", type=int, help="only the first test cases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run, dataset = RunFolder.open(options.run), Dataset.open(options.dataset)
    cases = dataset.ids("test", labelled=True)[: options.cases]
    print("| branch | own latent, Dice % | another image's latent, Dice % |\n|---|---|---|")
    for branch in BRANCHES:
        print("| {} | {:.1f} | {:.1f} |".format(branch, *reliance(run, dataset, branch, cases)), flush=True)


if __name__ == "__main__":
    main()
