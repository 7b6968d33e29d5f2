from __future__ import annotations

import pytest
import yaml

from fewmask.config import Experiment, load_experiment, merge, parse_assignment, read_yaml
from fewmask.errors import ConfigError
from fewmask.methods import METHODS, method_config


def load(**changes):
    return load_experiment(changes=changes)


def test_every_default_works():
    assert load() == Experiment()
    for name in METHODS:
        assert method_config(load(method={"name": name}).method) == METHODS[name].Config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trian": {}}, r"unknown key 'trian', did you mean 'train'\?"),
        ({"train": {"iteratoins": 3}}, r"unknown key 'train.iteratoins', did you mean 'iterations'\?"),
        ({"iterations": 3}, r"unknown key 'iterations', did you mean 'train.iterations'\?"),
        ({"train": {"zzzz": 3}}, "unknown key 'train.zzzz', valid: accelerator, accumulate"),
        ({"sampling": {"labeled": 3, "worker": 1}}, "did you mean 'labelled'.*did you mean 'workers'"),
    ],
)
def test_an_unknown_key_gets_the_nearest_valid_one(changes, message):
    with pytest.raises(ConfigError, match=message):
        load(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"lr": float("nan")}}, "train.lr"),
        ({"train": {"lr": float("inf")}}, "train.lr"),
        ({"train": {"lr": 0}}, "train.lr: .*greater than 0"),
        ({"train": {"iterations": 1.5}}, "train.iterations"),
        ({"train": {"precision": "fp8"}}, "train.precision: .*'fp32'.*got 'fp8'"),
        ({"train": {"seed": -1}}, "train.seed"),
        ({"preprocess": {"spacing": [1.0, float("nan"), 1.0]}}, "preprocess.spacing"),
        ({"preprocess": {"normalisation": "window"}}, r"needs window: \[lowest, highest\]"),
        ({"preprocess": {"normalisation": "window", "window": [5, 5]}}, "needs window"),
        ({"preprocess": {"size": [64, 64], "spacing": "median"}}, "either size or spacing"),
        ({"sampling": {"foreground": 1.2}}, "sampling.foreground"),
        ({"method": "cps"}, "method"),
        ({"train": 3}, "train"),
    ],
)
def test_a_wrong_value_is_named(changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        load(**changes)
    assert "\n" not in str(error.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        load(train={"lr": -1, "iterations": 0}, network={"width": 0})
    assert all(name in str(error.value) for name in ("train.lr", "train.iterations", "network.width"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "ua-mtt"}, r"no method named 'ua-mtt': did you mean 'ua-mt'"),
        ({"name": "ua-mt", "passess": 4}, r"method ua-mt: unknown key 'passess', did you mean 'passes'\?"),
        ({"name": "ua-mt", "consistency": {"wieght": 1}}, r"unknown key 'consistency.wieght', did you mean 'weight'\?"),
        ({"name": "ua-mt", "ema_decay": 1.0}, "ema_decay"),
        ({"name": "ua-mt", "noise": float("nan")}, "noise"),
        ({"name": "supervised", "ema_decay": 0.5}, "unknown key 'ema_decay'"),
    ],
)
def test_method_settings_are_checked_by_the_method(section, message):
    with pytest.raises(ConfigError, match=message):
        method_config(load(method=section).method)


def test_a_config_cannot_be_changed():
    experiment = load()
    with pytest.raises(ValueError, match="frozen"):
        experiment.train.lr = 1.0


def test_merge_goes_mapping_by_mapping_and_leaves_its_arguments():
    base = {"train": {"lr": 1, "seed": 2}, "network": {"width": 4}}
    assert merge(base, {"train": {"lr": 3}, "augment": {"intensity": 1}}) == {
        "train": {"lr": 3, "seed": 2},
        "network": {"width": 4},
        "augment": {"intensity": 1},
    }
    assert base == {"train": {"lr": 1, "seed": 2}, "network": {"width": 4}}


def test_settings_of_a_method_go_when_its_name_changes():
    base = {"method": {"name": "ua-mt", "passes": 4}}
    assert merge(base, {"method": {"name": "cps"}}) == {"method": {"name": "cps"}}
    assert merge(base, {"method": {"name": "ua-mt", "noise": 0.2}})["method"] == {
        "name": "ua-mt",
        "passes": 4,
        "noise": 0.2,
    }
    assert merge(base, {"method": {"noise": 0.2}})["method"]["passes"] == 4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("train.lr=0.1", {"train": {"lr": 0.1}}),
        ("method.consistency.weight=1", {"method": {"consistency": {"weight": 1}}}),
        ("sampling.patch_size=[96, 96, 80]", {"sampling": {"patch_size": [96, 96, 80]}}),
        ("train.clip_norm=null", {"train": {"clip_norm": None}}),
        (" train.seed =3", {"train": {"seed": 3}}),
        ("network.name=a=b", {"network": {"name": "a=b"}}),
    ],
)
def test_parse_assignment(text, wanted):
    assert parse_assignment(text) == wanted


@pytest.mark.parametrize("text", ["train.lr", "=3", " =3", "train.lr=[1"])
def test_a_malformed_assignment_is_refused(text):
    with pytest.raises(ConfigError, match="--set"):
        parse_assignment(text)


def test_scientific_notation_on_the_command_line():
    assert load_experiment(changes=parse_assignment("train.lr=1e-3")).train.lr == 1e-3


def test_yaml_round_trip(tmp_path):
    changes = {
        "preprocess": {"spacing": [1.5, 1.5, 2.0], "normalisation": "window", "window": [-125, 275]},
        "sampling": {"patch_size": [96, 96, 80]},
        "method": {"name": "ua-mt", "consistency": {"weight": 0.2, "steps": 200}},
        "train": {"clip_norm": 1.0},
    }
    experiment = load_experiment(changes=changes)
    path = tmp_path / "config.yaml"
    path.write_text(experiment.to_yaml(), encoding="utf-8")
    assert load_experiment(path) == experiment
    assert load_experiment(path).to_yaml() == experiment.to_yaml()
    assert load_experiment(path, {"train": {"lr": 0.5}}).train.lr == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"train: [1", "not valid YAML"),
        (b"- 1\n- 2\n", "holds a list"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"train: {lr: .nan}", "train.lr"),
        (b"a: !!python/object/apply:os.system ['echo']", "not valid YAML"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        load_experiment(path)
    assert str(error.value).startswith(str(path))


def test_a_missing_file_is_named_and_an_empty_one_means_all_defaults(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert load_experiment(tmp_path / "empty.yaml") == Experiment()


def test_the_written_config_is_plain_yaml():
    values = yaml.safe_load(Experiment().to_yaml())
    assert list(values) == [
        "preprocess",
        "sampling",
        "augment",
        "network",
        "method",
        "train",
        "inference",
        "evaluation",
    ]
