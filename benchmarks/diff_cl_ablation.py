"""The ablation of `diff-cl`, row by row as the paper has it (Table 6), on a data set of your own.

    python benchmarks/diff_cl_ablation.py DATASET --recipe la/coarse --labelled 4 --ordered --output OUT [--seeds 0 1 2]

Each row adds one part to the row before: the supervised losses of both networks, the pseudo-labels they give each other, the
high-frequency Mamba module, the contrast. A further row lets the contrast's positives come only from voxels that are predicted to be of
their class. A run that is done is not done again, so rows and seeds can be spread over processes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from compare import ablation

from fewmask import Dataset
from fewmask.allocator import keep_freed_memory

SUPERVISED = ["method.cross_ds.weight=0", "method.cross_cs.weight=0"]
NO_CONTRAST, PLAIN = "method.contrast.weight=0", "method.hfm.stages=[]"
ROWS = {
    "L_s": [*SUPERVISED, NO_CONTRAST, PLAIN],
    "+ L_p": [NO_CONTRAST, PLAIN],
    "+ HFM": [NO_CONTRAST],
    "+ L_cl": [],
    "+ L_cl, filtered": ["method.propagation.candidate_filter=pseudo"],
}


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--labelled", type=int, required=True)
    parser.add_argument("--ordered", action="store_true", help="the first cases of training_order")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], dest="changes", help="KEY=VALUE for all rows")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--store", type=Path, help="folder for preprocessed cases")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    rows = {name: (name.replace(" ", "").replace(",", "-"), ROWS[name]) for name in options.rows}
    dataset = Dataset.open(options.dataset)
    ablation(options, dataset, "diff-cl", rows, labelled=options.labelled, ordered=options.ordered)


if __name__ == "__main__":
    main()
