from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fewmask.config import load_experiment
from fewmask.data.image import Geometry, Image, read_image, read_label, write_image
from fewmask.errors import ConfigError, DataError
from fewmask.inference.postprocess import entropy_map, largest_component
from fewmask.inference.predictor import Predictor
from fewmask.inference.sliding_window import sliding_window
from fewmask.methods.base import SoftmaxPredictor
from fewmask.networks import build_network
from fewmask.task import Task
from helpers import blobs
from toys import small_network, small_task


class Shades(nn.Module):
    """Three classes by brightness, and by the place in the window, so that a shifted voxel shows."""

    def __init__(self, patch: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("ramp", torch.rand((3, *patch), generator=torch.Generator().manual_seed(0)))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        levels = torch.tensor([-1.0, 0.5, 2.0]).view(1, 3, *[1] * (image.ndim - 2))
        return torch.softmax(-((image[:, :1] - levels) ** 2) * self.ramp, dim=1)


def shades(patch: tuple[int, ...], **sections) -> Predictor:
    names = ("background", "one", "two")
    task = Task(len(patch), 1, names, patch, (1.0,) * len(patch))
    return Predictor(Shades(patch), task, load_experiment(changes=sections), ["brightness"], "cpu")


SCANS = [
    ((8, 8, 8), (25, 22, 19), {}),
    ((8, 8, 8), (25, 22, 19), {"spacing": [1.3, 0.8, 2.0], "crop": "nonzero", "crop_margin": 0}),
    ((8, 8, 8), (5, 30, 9), {"size": [11, 12, 13]}),
    ((8, 8), (31, 17), {"size": [16, 40]}),
    ((8, 8), (31, 17), {"crop": "nonzero"}),
]


@pytest.mark.parametrize(("patch", "shape", "preprocess"), SCANS)
@pytest.mark.parametrize("component", [False, True])
def test_slab_by_slab_is_the_whole_volume(patch, shape, preprocess, component) -> None:
    stride = [3, 5, 4][: len(patch)]
    inference = {"stride": stride, "largest_component": component, "weighting": "gaussian", "flips": True}
    predictor = shades(patch, preprocess=preprocess, inference=inference)
    data, _ = blobs(shape, seed=3)
    data[:, :3] = 0
    affine = np.diag([1.0, 1.0, 1.5, 1.0])[[2, 0, 1, 3]] * [[-1], [1], [-1], [1]] if len(shape) == 3 else np.eye(4)
    image = Image(data, Geometry(shape, affine), Path("scan"))
    prepared, record = predictor.preprocessor.image(image)
    whole = sliding_window(
        torch.from_numpy(prepared), predictor.module, patch, stride, weighting="gaussian", flips=True
    ).numpy()
    expected = predictor.preprocessor.restore(whole, record)
    probabilities, uncertainty = np.empty((3, *shape), np.float32), np.empty(shape, np.float32)
    labels = predictor.segment(image, probabilities=probabilities, uncertainty=uncertainty)
    np.testing.assert_array_equal(probabilities, expected)
    np.testing.assert_array_equal(uncertainty, entropy_map(expected))
    best = expected.argmax(0).astype(np.uint8)
    assert len(np.unique(best)) == 3
    np.testing.assert_array_equal(labels, largest_component(best, (1, 2)) if component else best)
    assert labels.dtype == np.uint8
    prediction = predictor.predict(image)
    np.testing.assert_array_equal(prediction.labels, labels)
    np.testing.assert_array_equal(prediction.probabilities, expected)
    np.testing.assert_array_equal(prediction.uncertainty, uncertainty)


@pytest.mark.parametrize(("patch", "shape", "preprocess"), SCANS)
@pytest.mark.parametrize("component", [False, True])
def test_confidence_is_the_probability_of_what_was_chosen(patch, shape, preprocess, component) -> None:
    predictor = shades(patch, preprocess=preprocess, inference={"largest_component": component})
    data = np.random.default_rng(0).normal(0.4, 1, (1, *shape)).astype(np.float32)
    image = Image(data, Geometry(shape, np.eye(4)), Path("scan"))
    confidence = np.full(shape, np.nan, np.float32)
    probabilities = np.empty((3, *shape), np.float32)
    labels = predictor.segment(image, probabilities=probabilities, confidence=confidence)
    most, removed = probabilities.max(0), (labels == 0) & (probabilities.argmax(0) != 0)
    np.testing.assert_allclose(confidence, np.where(removed, 1 - most, most), atol=1e-6)
    assert removed.any() == component
    assert (confidence[removed] + 1e-6 >= probabilities[0][removed]).all()


def test_engine_of_the_config_is_used() -> None:
    task = small_task(2)
    network = SoftmaxPredictor(build_network(task, small_network(norm="batch")))
    predictor = Predictor(network, task, load_experiment(), ["brightness"], "cpu")
    image = Image(blobs((40, 40))[0], Geometry((40, 40), np.eye(4)), Path("scan"))
    slow = predictor.predict(image).probabilities
    predictor.settings = predictor.settings.model_copy(update={"engine": "bf16"})
    assert 0 < np.abs(predictor.predict(image).probabilities - slow).max() < 0.05
    predictor.settings = predictor.settings.model_copy(update={"engine": "eager"})
    np.testing.assert_array_equal(predictor.predict(image).probabilities, slow)
    predictor.settings = predictor.settings.model_copy(update={"engine": "onnx"})
    with pytest.raises(ConfigError, match=r"inference\.engine 'onnx'"):
        predictor.predict(image)


def scan_file(folder: Path) -> Path:
    data, _ = blobs((20, 18, 16))
    write_image(folder / "scan.nii.gz", data[0], Geometry((20, 18, 16), np.diag([1.0, 2.0, 1.5, 1.0])))
    return folder / "scan.nii.gz"


def test_maps_of_every_class_are_written(tmp_path) -> None:
    predictor, scan = shades((8, 8, 8)), scan_file(tmp_path)
    (path,) = predictor.predict_files(scan, tmp_path / "out", probabilities=True, uncertainty=True)
    prediction = predictor.predict(read_image(scan))
    np.testing.assert_array_equal(read_label(path).data, prediction.labels)
    for name, values in zip(predictor.task.class_names, prediction.probabilities, strict=True):
        written = read_image(tmp_path / "out" / "probabilities" / f"scan_{name}.nii.gz")
        np.testing.assert_array_equal(written.data[0], values)
    written = read_image(tmp_path / "out" / "uncertainty" / "scan.nii.gz")
    np.testing.assert_array_equal(written.data[0], prediction.uncertainty)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"scan.nii.gz", "probabilities", "uncertainty"}  # no scratch file is left


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room on a disk")
def test_a_full_disk_is_an_error_before_the_work(tmp_path, monkeypatch) -> None:
    def full(*_arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"no room for .* of probabilities .*No space left"):
        shades((8, 8, 8)).predict_files(scan_file(tmp_path), tmp_path / "out", probabilities=True)


MEMORY = """
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fewmask.config import load_experiment
from fewmask.data.image import Geometry, Image
from fewmask.inference.predictor import Predictor
from fewmask.task import Task

CLASSES, PATCH, SHAPE = 16, (8, 64, 64), (128, 192, 160)


class Net(nn.Module):
    def forward(self, x):
        return torch.cat([x.sigmoid()] * CLASSES, 1)


def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


task = Task(3, 1, tuple(f"class {k}" for k in range(CLASSES)), PATCH, (1.0,) * 3)
experiment = load_experiment(changes={"preprocess": {"spacing": [1.1, 1.0, 1.0]}})
predictor = Predictor(Net(), task, experiment, ["x"], "cpu")


def image(shape):
    data = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    return Image(data, Geometry(shape, np.eye(4)), Path("scan"))


predictor.segment(image((16, 80, 80)))
scans = [image(SHAPE)]
before = peak()
predictor.segment(scans.pop())
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read as Linux tells it")
def test_peak_memory_does_not_hold_all_classes() -> None:
    """All classes of the scan are 252 MB; the budget is the prepared scan, the label map and one slab of all classes."""
    voxels, in_plane, classes, patch = 128 * 192 * 160, 192 * 160, 16, (8, 64, 64)
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    grown = int(done.stdout)
    slab, windows = 4 * classes * patch[0] * in_plane, 4 * classes * int(np.prod(patch))
    smoothed = 2 * 4 * voxels  # the scan between two steps of preprocessing
    assert grown < 4 * voxels + voxels + smoothed + slab + 4 * windows + 24 * 2**20
    assert grown < 4 * classes * voxels / 2
