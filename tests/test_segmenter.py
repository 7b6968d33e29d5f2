import numpy as np
import pytest

from fewmask import Dataset, Segmenter
from fewmask.data.image import read_image
from fewmask.errors import ConfigError, DataError, RunError
from helpers import write_dataset

SMALL = {
    "train": {"iterations": 3},
    "sampling": {"patch_size": [32, 32], "workers": 0},
    "network": {"width": 2},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset.open(write_dataset(tmp_path_factory.mktemp("segmenter") / "data", dims=2, unlabelled=1, test=1))


@pytest.fixture(scope="module")
def model(dataset):
    return Segmenter("mean-teacher", **SMALL).fit(dataset, dataset.split(labelled=2))


def test_predicts_a_path_and_an_array_alike(dataset, model):
    path = dataset.case("test_000").images[0]
    from_path = model.predict(path)
    assert from_path.dtype == np.uint8 and from_path.shape == (40, 36)
    np.testing.assert_array_equal(from_path, model.predict(str(path)))
    np.testing.assert_array_equal(from_path, model.predict(read_image(path).data))
    np.testing.assert_array_equal(from_path, model.predict(read_image(path).data[0]))


def test_full_prediction(dataset, model):
    full = model.predict_full(dataset.case("test_000").images[0])
    np.testing.assert_allclose(full.probabilities.sum(0), 1, atol=1e-5)
    assert full.uncertainty.shape == (40, 36) and full.geometry.shape == (40, 36)


def test_saved_model_predicts_the_same(dataset, model, tmp_path):
    saved = model.save(tmp_path / "run")
    path = dataset.case("test_000").images[0]
    loaded = Segmenter.load(saved)
    np.testing.assert_array_equal(loaded.predict(path), model.predict(path))
    assert loaded.experiment().method.name == "mean-teacher" and loaded.experiment().train.iterations == 3
    with pytest.raises(RunError, match="exists already"):
        model.save(saved)


def test_fit_writes_a_run_folder_and_takes_a_dataset_path(dataset, tmp_path):
    Segmenter(**SMALL).fit(str(dataset.root), output=tmp_path / "run")
    assert (tmp_path / "run/config.yaml").is_file() and (tmp_path / "run/checkpoints/last.safetensors").is_file()


def test_settings_of_a_method():
    experiment = Segmenter({"name": "ua-mt", "passes": 4}, train={"lr": 0.5}).experiment()
    assert experiment.method.settings() == {"passes": 4} and experiment.train.lr == 0.5
    base = Segmenter("cps", experiment=experiment).experiment()
    assert base.method.name == "cps" and base.method.settings() == {} and base.train.lr == 0.5


def test_wrong_settings_are_named_before_anything_runs(dataset):
    with pytest.raises(ConfigError, match=r"unknown key 'train.iteratons', did you mean 'iterations'\?"):
        Segmenter(train={"iteratons": 3}).fit(dataset)
    with pytest.raises(ConfigError, match="did you mean 'network'"):
        Segmenter(netwrok={"width": 3}).experiment()
    with pytest.raises(ConfigError, match="there is no method named 'ua-tm'"):
        Segmenter("ua-tm").fit(dataset)


def test_untrained_model_says_so(tmp_path):
    with pytest.raises(RunError, match="was not trained"):
        Segmenter().predict(np.zeros((8, 8)))
    with pytest.raises(RunError, match="is not a run folder"):
        Segmenter.load(tmp_path)


def test_one_scan_at_a_time(dataset, model):
    with pytest.raises(ConfigError, match="holds 4 scans"):
        model.predict(dataset.root / "imagesTr")
    with pytest.raises(DataError, match="does not exist"):
        model.predict("absent.png")


def test_saving_over_a_run_asks_for_it_and_over_anything_else_refuses(dataset, model, tmp_path):
    saved = model.save(tmp_path / "run")
    (saved / "config.yaml").write_text("train: {iterations: 7}\n")
    with pytest.raises(RunError, match="overwrite=True"):
        model.save(saved)
    assert (saved / "config.yaml").read_text() == "train: {iterations: 7}\n"
    assert model.save(saved, overwrite=True) == saved and "iterations: 7" not in (saved / "config.yaml").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="not a run folder"):
        model.save(tmp_path / "mine", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "run"]
    assert (tmp_path / "mine/thesis.txt").exists()
