"""Volumes of few slices, cardiac or prostate, under the default settings: real trainings, label maps on the scan's grid."""

import nibabel
import numpy as np
import pytest

from fewmask.networks import NETWORKS
from helpers import write_dataset
from program import TINY, call_main

SPACING = (1.25, 1.25, 8.0)


def run(root, *settings, sides=(24, 20)):
    """Train two steps on the folder's own patch, predict the test scan and score it."""
    words = [word for setting in (*TINY, "train.iterations=2", *settings) for word in ("--set", setting)]
    for command in (
        ["train", "data", "--output", "run", *words],
        ["predict", "run", "data/imagesTs", "out"],
        ["evaluate", "out", "data/labelsTs"],
    ):
        outcome = call_main(*command, cwd=root.parent)
        assert outcome.code == 0, outcome.err
    label, scan = (
        nibabel.load(path) for path in (root.parent / "out/test_000.nii.gz", root / "imagesTs/test_000_0000.nii.gz")
    )
    assert label.shape == scan.shape and np.array_equal(label.affine, scan.affine)
    assert set(np.unique(np.asarray(label.dataobj))) <= {0, 1}
    return label


@pytest.mark.parametrize("slices", [1, 2, 8, 10, 12])
@pytest.mark.parametrize("sides", [(24, 20), (14, 12)], ids=["small", "smaller than the stride"])
def test_few_slices(tmp_path, slices, sides):
    root = write_dataset(tmp_path / "data", cases=2, test=1, shape=(*sides, slices), spacing=SPACING)
    assert run(root, "sampling.labelled=1").shape == (*sides, slices)


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
@pytest.mark.parametrize("network", [name for name in NETWORKS if 3 in NETWORKS[name].spatial_dims])
def test_every_network(tmp_path, network, norm):
    root = write_dataset(tmp_path / "data", cases=2, test=1, shape=(14, 12, 9), spacing=SPACING)
    run(root, f"network.name={network}", f"network.norm={norm}", "sampling.labelled=1")


def test_coarser_slices_than_wanted_are_resampled_and_brought_back(tmp_path):
    root = write_dataset(tmp_path / "data", cases=2, test=1, shape=(24, 20, 8), spacing=SPACING)
    assert run(root, "preprocess.spacing=[1.5, 1.5, 4.0]").shape == (24, 20, 8)


def test_a_method_with_unlabelled_scans(tmp_path):
    root = write_dataset(tmp_path / "data", cases=2, unlabelled=2, test=1, shape=(24, 20, 8), spacing=SPACING)
    run(root, "method.name=mean-teacher", "sampling.labelled=1", "sampling.unlabelled=1")
