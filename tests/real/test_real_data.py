"""Two public data sets as they lie on disk, where a checkout has them beside it; nothing is written there."""

import json

import numpy as np
import pytest

from fewmask import Dataset
from fewmask.config import load_experiment
from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.engine.train import train
from fewmask.inference.predictor import Predictor
from fewmask.metrics import evaluate
from fewmask.recipes import recipe_path
from helpers import SHARED

HEART, SKIN = SHARED / "Dataset001_LeftAtrium", SHARED / "Dataset002_PH2"
RAW = SHARED / "raw/2018LA_Seg_Training Set"
TINY = {
    "method": {"name": "ua-mt", "passes": 2},
    "network": {"width": 2},
    "train": {"iterations": 5},
    "sampling": {"labelled": 1, "unlabelled": 1, "workers": 0},
}

needs_heart = pytest.mark.skipif(not HEART.is_dir(), reason="the left atrium data set is not beside this checkout")
needs_skin = pytest.mark.skipif(not SKIN.is_dir(), reason="the PH2 data set is not beside this checkout")


def few(dataset, split, unlabelled):
    """The split with a few unlabelled cases and one test case: preprocessing all would take minutes."""
    return split.model_copy(update={"unlabelled": split.unlabelled[:unlabelled], "test": split.test[:1]})


def whole_way(dataset, split, recipe, folder):
    """Train five steps, predict one test scan, score it; returns the label map's path and the evaluation."""
    run = train(load_experiment(recipe_path(recipe), TINY), dataset, split, folder / "run", store=folder / "store")
    case = dataset.case(split.test[0])
    (path,) = Predictor.from_run(run.path, device="cpu").predict_files(case.images[0], run.predictions)
    return path, evaluate(path, case.label, dataset.class_names)


@needs_heart
def test_left_atrium_headers_and_published_order():
    dataset = Dataset.open(HEART)
    assert len(dataset.ids("train", labelled=True)) == 80 and len(dataset.ids("test")) == 12
    for case in dataset.ids("train")[:3]:
        geometry = read_geometry(dataset.case(case).images[0])
        np.testing.assert_allclose(geometry.spacing, 0.625, atol=1e-6)
        assert len(geometry.shape) == 3 and geometry.matches(read_geometry(dataset.case(case).label))
    order = json.loads((HEART / "dataset.json").read_text())["training_order"]
    assert list(dataset.split(labelled=4, ordered=True).labelled) == order[:4]


@needs_heart
def test_left_atrium_from_training_to_scores(tmp_path):
    dataset = Dataset.open(HEART)
    split = few(dataset, dataset.split(labelled=2, ordered=True), 2)
    path, result = whole_way(dataset, split, "la/coarse", tmp_path)
    assert read_geometry(path).matches(read_geometry(dataset.case(split.test[0]).images[0]))
    assert set(np.unique(read_label(path).data)) <= {0, 1}
    assert 0 <= result.summary()["mean"]["metrics"]["dice"]["mean"] <= 1


@pytest.mark.skipif(not RAW.is_dir(), reason="the raw left atrium files are not beside this checkout")
def test_left_atrium_intensities_are_the_published_ones():
    h5py = pytest.importorskip("h5py", reason="the raw files are HDF5")
    folder = sorted(RAW.iterdir())[0]
    with h5py.File(folder / "mri_norm2.h5") as file:
        image, label = np.array(file["image"]), np.array(file["label"])
    scan = read_image(HEART / f"imagesTr/{folder.name}_0000.nii.gz").data[0]
    np.testing.assert_allclose(scan, image, atol=5e-6)
    np.testing.assert_array_equal(read_label(HEART / f"labelsTr/{folder.name}.nii.gz").data, label)


@needs_skin
def test_skin_headers():
    dataset = Dataset.open(SKIN)
    assert len(dataset.ids("train", labelled=True)) == 140 and len(dataset.ids("test")) == 30
    image = dataset.read(dataset.ids("train")[0])
    assert image.data.shape == (3, 192, 256) and image.data.min() >= 0 and image.data.max() <= 255
    assert set(np.unique(dataset.read_label(dataset.ids("train")[0]).data)) == {0, 1}


@needs_skin
def test_skin_from_training_to_scores(tmp_path):
    dataset = Dataset.open(SKIN)
    split = few(dataset, dataset.split(labelled=0.02), 3)
    path, result = whole_way(dataset, split, "ph2/small", tmp_path)
    assert path.suffix == ".png" and read_label(path).data.shape == (192, 256)
    assert 0 <= result.summary()["mean"]["metrics"]["dice"]["mean"] <= 1
