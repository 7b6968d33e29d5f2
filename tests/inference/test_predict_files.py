"""From a run folder and scans on disk to label maps and exported models."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from fewmask.data.dataset import Dataset
from fewmask.data.image import read_image, read_label
from fewmask.data.split import Split
from fewmask.engine.train import train
from fewmask.errors import ConfigError, DataError, RunError
from fewmask.inference.export import export_run
from fewmask.inference.predictor import Predictor
from helpers import write_dataset
from toys import small_experiment


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictor")
    data = Dataset.open(write_dataset(folder / "Dataset001_Blobs", cases=2, test=2, dims=2))
    run = train(small_experiment(), data, Split(labelled=("case_000", "case_001")), folder / "run")
    return data, run


def test_a_folder_gives_a_label_map_a_scan(trained, tmp_path):
    data, run = trained
    predictor = Predictor.from_run(run.path, device="cpu")
    counts = []
    paths = predictor.predict_files(
        data.root / "imagesTs", tmp_path, probabilities=True, uncertainty=True, progress=lambda *at: counts.append(at)
    )
    assert [path.name for path in paths] == ["test_000.png", "test_001.png"]
    assert counts == [(0, 2), (1, 2), (2, 2)]
    prediction = predictor.predict(data.read("test_000"))
    np.testing.assert_array_equal(read_label(paths[0]).data, prediction.labels)
    maps = [tmp_path / "probabilities" / f"test_000_{name}.tif" for name in data.class_names]
    np.testing.assert_allclose(sum(read_image(path).data[0] for path in maps), 1, atol=1e-5)
    p = prediction.probabilities
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(0) / np.log(2)
    uncertainty = read_image(tmp_path / "uncertainty" / "test_000.tif").data[0]
    np.testing.assert_allclose(uncertainty, entropy, atol=1e-4)


def test_scans_are_never_overwritten_by_their_label_maps(trained, tmp_path):
    """A scan without a channel number has the name that its label map would get."""
    data, run = trained
    scan = tmp_path / "scan.png"
    shutil.copy(data.case("test_000").images[0], scan)
    before = scan.read_bytes()
    predictor = Predictor.from_run(run.path, device="cpu")
    for source, target in [(tmp_path, tmp_path), (scan, tmp_path), (scan, scan)]:
        with pytest.raises(DataError, match=r"would be overwritten|holds the scans"):
            predictor.predict_files(source, target)
    assert scan.read_bytes() == before
    assert predictor.predict_files(scan, tmp_path / "labels.png") == [tmp_path / "labels.png"]


def test_arrays(trained):
    data, run = trained
    predictor = Predictor.from_run(run.path, device="cpu")
    image = data.read("test_000").data
    np.testing.assert_array_equal(predictor.predict_array(image).labels, predictor.predict_array(image[0]).labels)
    with pytest.raises(DataError, match="is no 2D image"):
        predictor.predict_array(image[None])
    with pytest.raises(DataError, match="has 3 channels, but the model was trained on 1"):
        predictor.predict_array(np.concatenate([image] * 3))


def test_export(trained, tmp_path):
    data, run = trained
    export_run(run.path, tmp_path / "model.pt2")
    export_run(run.path, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == run.weights().read_bytes()
    program = torch.export.load(tmp_path / "model.pt2").module()
    patch = torch.from_numpy(data.read("test_000").data[None, :, :32, :32].copy())
    module = Predictor.from_run(run.path, device="cpu").module
    with torch.no_grad():
        torch.testing.assert_close(program(patch), module(patch))
    with pytest.raises(ConfigError, match=r"use the ending \.pt2 .* or \.safetensors"):
        export_run(run.path, tmp_path / "model.onnx")
    with pytest.raises(RunError, match="not a run folder"):
        export_run(tmp_path, tmp_path / "model.pt2")
