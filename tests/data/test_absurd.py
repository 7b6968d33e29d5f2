"""Values, sizes and settings that nobody means: a sentence that blames the file or the setting, and never fewmask."""

from __future__ import annotations

import json
import shutil
from typing import get_args

import nibabel
import numpy as np
import pytest

from corpus.harness import findings_of
from fewmask.config import Experiment, load_experiment
from fewmask.data.resample import LONGEST, target_shape
from fewmask.errors import ConfigError
from helpers import write_dataset
from program import call_main, tiny

SHAPE = (20, 18, 14)
TRAIN = ["train", "heart", "--output", "new", "--labelled", "4", "--val", "1", *tiny(3), "--set", "train.iterations=1"]


def noise(shape=SHAPE):
    return np.random.default_rng(0).normal(100, 30, shape)


def one(value):
    values = noise()
    values[3, 4, 5] = value
    return values


def ball(value):
    values = np.zeros(SHAPE, np.float64)
    values[3:9, 3:9, 3:9] = value
    return values


def stripes():
    values = np.full(SHAPE, 3e38)
    values[::2] = -3e38
    return values


IMAGES = {
    "one of 1e300": one(1e300),
    "one of 3e38": one(3e38),
    "all 1e300": np.full(SHAPE, 1e300),
    "largest and smallest": stripes(),
    "noise of 1e37": noise() * 1e35,
    "noise of 1e-44": noise() * 1e-46,
    "all 0": np.zeros(SHAPE),
    "one voxel": noise((1, 1, 1)),
    "a needle": noise((1, 1, 14)),
    "two voxels a side": noise((2, 2, 2)),
    "a plane": noise((1, 18, 14)),
}
SPACINGS = [
    (1e-6, 1, 1),
    (1e12, 1, 1),
    (1e-6,) * 3,
    (1e12,) * 3,
    (1e-20, 1e20, 1),
]  # those between would fill a real memory
LABELS = [1e300, -1, 256, 2**31, 2**62, 0.5, 1e38, float("nan")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("absurd")
    write_dataset(place / "heart", cases=4, unlabelled=1, test=1)
    words = ["run" if word == "new" else word for word in TRAIN]
    assert call_main(*words, cwd=place).code == 0
    assert call_main("predict", "run", "heart/imagesTs", "run/predictions", cwd=place).code == 0
    return place


@pytest.fixture
def place(made, tmp_path):
    shutil.copytree(made, tmp_path / "place")
    shutil.rmtree(tmp_path / "place/heart/.fewmask")
    return tmp_path / "place"


def put(place, names, values, spacing=(1, 1, 1.5)):
    for name in names:
        nibabel.save(nibabel.Nifti1Image(values, np.diag([*spacing, 1.0])), place / f"{name}.nii.gz")


def blames_no_program(outcome):
    assert outcome.code in (0, 1, 2), outcome
    assert "fault of fewmask" not in outcome.err and "Traceback" not in outcome.err, outcome.err
    assert "RuntimeWarning" not in outcome.err


def every_verb(place, *settings):
    """Through each verb that reads the scans."""
    for words in (
        [*TRAIN, *settings],
        ["predict", "run", "heart/imagesTs", "out", "--uncertainty"],
        ["evaluate", "run/predictions", "heart/labelsTs"],
        ["rank", "run", "heart"],
    ):
        blames_no_program(call_main(*words, cwd=place))
    outcome = call_main("check", "heart", "--json", cwd=place)
    blames_no_program(outcome)
    assert len(json.loads(outcome.out)["cases"]) == 6, "every case is looked at"
    return outcome


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("more", ["", "preprocess.spacing=median"])
def test_values_and_sizes(place, name, more):
    scans = ["heart/imagesTr/case_001_0000", "heart/imagesUn/extra_000_0000", "heart/imagesTs/test_000_0000"]
    put(place, scans, IMAGES[name])
    settings = ["--set", more, "--set", "preprocess.crop=body"] if more else []
    every_verb(place, *settings)


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_spacings(place, spacing):
    scans = ["heart/imagesTr/case_001_0000", "heart/imagesTs/test_000_0000"]
    put(place, scans, noise(), spacing)
    put(place, ["heart/labelsTr/case_001", "heart/labelsTs/test_000", "run/predictions/test_000"], ball(1), spacing)
    every_verb(place, "--set", "preprocess.spacing=median")


@pytest.mark.parametrize("value", LABELS)
def test_label_values(place, value):
    put(place, ["heart/labelsTr/case_001", "heart/labelsTs/test_000", "run/predictions/test_000"], ball(value))
    outcome = every_verb(place)
    assert outcome.code == 1
    assert "case_001" in {finding["case"] for finding in findings_of(outcome)}


def test_the_check_goes_on_with_the_others(place):
    """All of these at once, and each is named."""
    names = ["case_000", "case_001", "case_002"]
    for name, values in zip(names, ("all 1e300", "one voxel", "one of 1e300"), strict=True):
        put(place, [f"heart/imagesTr/{name}_0000"], IMAGES[name if name in IMAGES else values])
    put(place, ["heart/labelsTr/case_003"], ball(2**62))
    outcome = call_main("check", "heart", "--json", cwd=place)
    assert outcome.code == 1
    assert {finding["case"] for finding in findings_of(outcome)} >= {*names, "case_003"}


@pytest.mark.parametrize(
    "setting", ["preprocess.spacing=[1e-9, 1e-9, 1e-9]", "preprocess.size=[1000000000, 1000000000, 9]"]
)
def test_what_would_fill_the_memory_is_refused(place, setting):
    outcome = call_main(*TRAIN, "--set", setting, cwd=place)
    assert outcome.code == 1 and "would be resampled to" in outcome.err and "case_00" in outcome.err, outcome.err


def test_a_target_shape_is_finite():
    assert target_shape((4, 4), (1.0, 1e300), (1e-300, 1e-300)) == (LONGEST, LONGEST)
    assert target_shape((4, 4), (1.0, 1.0), (1e300, 0.5)) == (1, 8)


SETTINGS = [
    f"{section}.{name}"
    for section, field in Experiment.model_fields.items()
    if section != "method"
    for name, inner in field.annotation.model_fields.items()
    if {int, float} & {inner.annotation, *get_args(inner.annotation)}
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_number_of_a_setting_is_a_fault(setting):
    """Each is refused by its name, or taken: nothing in between."""
    section, name = setting.split(".")
    refused = 0
    for value in (
        -1,
        0,
        10**12,
        10**30,
        -(10**30),
        1e300,
        -1e300,
        1e-300,
        float("nan"),
        float("inf"),
        True,
        "",
        [],
        {},
    ):
        try:
            load_experiment(changes={section: {name: value}})
        except ConfigError as error:
            assert f"{setting}:" in str(error) and "\n" not in str(error)
            refused += 1
    assert refused >= 6


@pytest.mark.parametrize(
    "setting",
    [
        "sampling.patch_size=[1000000000,1000000000,1000000000]",
        "sampling.patch_size=[0,0,0]",
        "sampling.patch_size=[-1,-1,-1]",
        "sampling.patch_size=[10]",
        "sampling.margin=1000000000000",
        "inference.stride=[0,0,0]",
        "inference.stride=[1000000000,1000000000,1000000000]",
        "preprocess.size=[0,1,1]",
        "preprocess.spacing=[-1,1,1]",
        "preprocess.crop_margin=1000000000000000000000000",
        "train.lr=1e300",
        "train.lr=1e-300",
        "train.weight_decay=1e300",
        "train.clip_norm=1e-300",
        "network.width=1000000",
        "network.width=16384",
        "sampling.labelled=1000000000000",
    ],
)
def test_settings_that_nobody_means(place, setting):
    blames_no_program(call_main(*TRAIN, "--set", setting, "--set", "preprocess.crop=nonzero", cwd=place))


@pytest.mark.parametrize(
    "budget", [["--labelled", "1" + "0" * 30], ["--labelled", "-1"], ["--labelled", "1e300%"], ["--labelled", "nan%"]]
)
def test_budgets_that_nobody_means(place, budget):
    for words in (["split", "heart", "--name", "x", *budget], [*TRAIN, *budget]):
        outcome = call_main(*words, cwd=place)
        blames_no_program(outcome)
        assert outcome.code in (1, 2)
