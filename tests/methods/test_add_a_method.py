"""Adding a method is one class in one file; here it is done for real, from outside the package."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import Field

from fewmask import Dataset, Segmenter
from fewmask.components.ramps import RampConfig
from fewmask.components.uncertainty import entropy
from fewmask.config import MethodSection
from fewmask.errors import ConfigError
from fewmask.methods import METHODS, Method, MethodConfig, SoftmaxPredictor, method_config
from helpers import write_dataset
from toys import NETWORK, registered


class EntropyMinimisation(Method):
    """Entropy minimisation (Grandvalet & Bengio, NIPS 2004): unlabelled predictions are pushed towards certainty."""

    class Config(MethodConfig):
        entropy: RampConfig = Field(RampConfig(weight=0.1), description="weight of the entropy")

    idea = "be sure of the unlabelled"

    def build(self):
        self.network = self.build_network()

    def forward(self, batch, progress):
        logits = self.network(batch.images)
        uncertainty = entropy(logits[len(batch.labels) :].softmax(1)).mean()
        return self.supervised(logits, batch.labels).add("entropy", uncertainty, self.config.entropy.at(progress))

    def predictor(self):
        return SoftmaxPredictor(self.network)


@pytest.fixture
def method():
    with registered("entropy", EntropyMinimisation):
        yield "entropy"
    assert "entropy" not in METHODS


def test_it_trains_predicts_saves_and_loads(method, tmp_path):
    data = Dataset.open(write_dataset(tmp_path / "Dataset001_Blobs", cases=3, unlabelled=2, test=1, dims=2))
    model = Segmenter(
        method,
        network=NETWORK | {"norm": "batch"},
        sampling={"patch_size": [32, 32], "workers": 0, "foreground": 0.5},
        train={"iterations": 80, "lr": 0.1, "accelerator": "cpu"},
    ).fit(data, data.split(labelled=2))
    image, label = data.read("test_000").data, data.read_label("test_000").data
    labels = model.predict(image)
    dice = 2 * np.sum((labels > 0) & (label > 0)) / (np.sum(labels > 0) + np.sum(label > 0))
    assert labels.dtype == np.uint8
    assert labels.shape == label.shape
    assert dice > 0.7
    run = model.save(tmp_path / "run")
    assert "entropy" in (run / "metrics.csv").read_text().splitlines()[0]
    assert np.array_equal(Segmenter.load(run).predict(data.case("test_000").images[0]), labels)


def test_its_settings_are_checked_like_any_others(method):
    with pytest.raises(ConfigError, match=r"method entropy: unknown key 'entropie', did you mean 'entropy'\?"):
        method_config(MethodSection(name=method, entropie={"weight": 1}))
    assert method_config(MethodSection(name=method, entropy={"weight": 1})).entropy.weight == 1
