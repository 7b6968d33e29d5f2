import pytest
import torch

from fewmask.config import load_experiment
from fewmask.errors import ConfigError
from fewmask.methods import METHODS, build_method
from fewmask.recipes import recipe_names, recipe_path
from fewmask.task import Task


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_is_valid_and_its_networks_build(name):
    experiment = load_experiment(recipe_path(name))
    patch = experiment.sampling.patch_size
    assert all(side % 16 == 0 for side in patch), "patches are multiples of the networks' stride"
    task = Task(len(patch), 1, ("background", "object"), patch, (1.0,) * len(patch))
    method = build_method(task, experiment.method, experiment.network.model_copy(update={"width": 2}))
    small = torch.zeros(1, 1, *(32,) * len(patch))
    assert method.predictor().eval()(small).shape == (1, 2, *(32,) * len(patch))
    stride = experiment.inference.stride
    assert stride is None or all(step <= side for step, side in zip(stride, patch, strict=True))


def method_of(name):
    """The method whose name a recipe bears, with or without the number of labelled scans behind it."""
    return name.split("/")[1].rstrip("0123456789").removesuffix("-")


@pytest.mark.parametrize("name", [name for name in recipe_names() if method_of(name) in METHODS])
def test_recipe_that_bears_a_method_s_name_trains_it(name):
    assert load_experiment(recipe_path(name)).method.name == method_of(name)


def test_a_recipe_with_a_number_is_for_so_many_labelled_scans():
    numbered = [name for name in recipe_names() if name[-1].isdigit()]
    assert len(numbered) >= 6
    for name in numbered:
        text, labelled = recipe_path(name).read_text(encoding="utf-8"), name.rsplit("-", 1)[1]
        assert f"first {labelled} of" in text
        assert f"--labelled {labelled}\n" in text


def test_recipes_of_one_data_set_differ_in_the_method_alone():
    first, *others = (
        load_experiment(recipe_path(f"la/{name}")) for name in ("supervised", "mean-teacher", "ua-mt", "cps")
    )
    for other in others:
        assert other.model_copy(update={"method": first.method}) == first


def test_acdc_recipes_after_ssl4mis_share_its_ramp_and_dice():
    names = [n for n in recipe_names() if n.startswith("acdc/") and "SSL4MIS" in recipe_path(n).read_text("utf-8")]
    methods = {name: load_experiment(recipe_path(name)).method.model_dump() for name in names}
    ramped = {
        name: (part["weight"], part["steps"])
        for name, method in methods.items()
        for part in method.values()
        if isinstance(part, dict) and "weight" in part and "steps" in part
    }
    assert {"acdc/dtc", "acdc/urpc", "acdc/cct"} <= set(ramped) and set(ramped.values()) == {(0.1, 200)}
    assert methods["acdc/dtc"]["dice_background"] is True, "the method's own default is the foreground"


def test_every_recipe_opens_with_a_comment():
    assert all(recipe_path(name).read_text(encoding="utf-8").startswith("# ") for name in recipe_names())


def test_a_file_of_the_user(tmp_path):
    (tmp_path / "mine.yaml").write_text("train: {lr: 0.5}\n")
    assert load_experiment(recipe_path(str(tmp_path / "mine.yaml"))).train.lr == 0.5
    with pytest.raises(ConfigError, match="did you mean 'la/ua-mt'"):
        recipe_path("la/uamt")
