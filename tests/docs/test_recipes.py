import math
import re

import pytest
import torch

from fewmask.config import load_experiment
from fewmask.errors import ConfigError
from fewmask.methods import METHODS, Progress, build_method, method_config
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


@pytest.mark.parametrize("name", [n for n in recipe_names() if method_of(n) in ("mc-net", "mc-net-plus")])
def test_targets_of_mc_net_are_as_released_in_all_its_recipes(name):
    assert method_config(load_experiment(recipe_path(name)).method).detach_targets is False


@pytest.mark.parametrize("data", ["la", "pancreas-ct"])
@pytest.mark.parametrize(
    ("method", "ramp"),
    [("mc-net", "consistency"), ("mc-net-plus", "consistency"), ("ml-rpl", "consistency"), ("ss-net", "unlabelled")],
)
def test_ramps_of_15000_iterations_are_full_at_6000(data, method, ramp):
    experiment = load_experiment(recipe_path(f"{data}/{method}"))
    config = getattr(method_config(experiment.method), ramp)
    assert experiment.train.iterations == 15000
    assert (config.weight, config.shape, config.length, config.steps) == (1, "gaussian", 0.4, 40)


DTS_2D = {"glas": 8000, "ph2": 14000, "hmeps": 30000}
DTS_TERMS = {"supervised": None, "entropy-minimisation": "entropy", "cps": "cross"} | dict.fromkeys(
    ("mean-teacher", "ua-mt", "cct", "urpc"), "consistency"
)


@pytest.mark.parametrize("data", DTS_2D)
def test_what_diffusion_co_training_compares_with_has_one_regime(data):
    """Its authors' benchmark: the same but for the method; Dice alone, the weight 5 e / 200, one decoder for all passes of CCT."""
    experiments = {method: load_experiment(recipe_path(f"{data}/{method}")) for method in DTS_TERMS}
    first, length = experiments["supervised"], DTS_2D[data]
    for method, experiment in experiments.items():
        assert experiment.model_copy(update={"method": first.method}) == first
        config = method_config(experiment.method)
        assert (config.ce_weight, config.dice_weight) == (0, 1)
        if term := DTS_TERMS[method]:
            ramp = getattr(config, term)
            assert (ramp.weight, ramp.shape, ramp.length, ramp.steps) == (5, "epochs", 1, 200)
    assert method_config(experiments["cct"].method).shared_decoder is True
    training = first.train
    assert (training.iterations, training.step_every, training.warmup) == (length, length // 4, length // 10)
    assert (training.optimiser, training.lr, training.schedule, training.step_factor) == ("sgd", 0.5, "step", 0.5)


@pytest.mark.parametrize("data", ["la", "acdc", "brats2019"])
def test_entropy_minimisation_counts_labelled_patches_as_the_benchmark(data):
    assert method_config(load_experiment(recipe_path(f"{data}/entropy-minimisation")).method).include_labelled is True


@pytest.mark.parametrize(
    ("method", "full"),
    [("mc-net", 40), ("mc-net-plus", 40), ("dtc", 40), ("ml-rpl", 40), ("sassnet", 40), ("urpc", 400)],
)
def test_ramps_on_brats_are_the_benchmark_s_and_the_header_sets_the_release_s(method, full):
    """The release's ramp counts iterations, whatever the length of the run."""
    path = recipe_path(f"brats2019/{method}")
    experiment = load_experiment(path)
    found = re.findall(r"--set method\.(\w+)\.(length|steps)=([\d.]*\d)", path.read_text(encoding="utf-8"))
    name, settings = found[0][0], {key: float(value) for _, key, value in found}
    ours = getattr(method_config(experiment.method), name)
    assert (ours.length, ours.steps) == (1, 200)
    literal = ours.model_copy(update={"length": settings["length"], "steps": int(settings["steps"])})
    for iteration in range(0, 30000, 1111):
        done = min(iteration // 150, full)
        wanted = ours.weight * math.exp(-5 * (1 - done / full) ** 2)
        assert literal.at(Progress(iteration, experiment.train.iterations)) == pytest.approx(wanted)


def test_ss_net_on_acdc_keeps_its_learning_rate():
    assert load_experiment(recipe_path("acdc/ss-net")).train.schedule == "constant"


# Table 2 of Diff-CL as it is read here: unlabelled scans, eta, cut-off; patch and stride of its data sets.
DIFF_CL = {
    "la/diff-cl-4": (76, 0.7, 0.6, (112, 112, 80), (18, 18, 4)),
    "la/diff-cl-8": (72, 0.5, 0.7, (112, 112, 80), (18, 18, 4)),
    "pancreas-ct/diff-cl-6": (56, 0.007, 0.8, (96, 96, 96), (16, 16, 16)),
    "pancreas-ct/diff-cl-12": (50, 0.0003, 0.5, (96, 96, 96), (16, 16, 16)),
    "brats2019/diff-cl-25": (225, 0.007, 0.5, (96, 96, 96), (64, 64, 64)),
    "brats2019/diff-cl-50": (200, 0.003, 0.5, (96, 96, 96), (64, 64, 64)),
}


@pytest.mark.parametrize("name", DIFF_CL)
def test_published_settings_of_diff_cl(name):
    unlabelled, eta, cutoff, patch, stride = DIFF_CL[name]
    experiment = load_experiment(recipe_path(name))
    method, training = method_config(experiment.method), experiment.train
    assert (experiment.sampling.patch_size, experiment.inference.stride) == (patch, stride)
    assert (experiment.sampling.labelled, experiment.sampling.unlabelled) == (2, 2)
    assert training.iterations == 300 * (unlabelled // 2), "300 passes over the unlabelled scans"
    assert (training.optimiser, training.lr, training.schedule) == ("sgd", 0.01, "constant")
    assert (training.momentum, training.weight_decay) == (0.9, 1e-4)
    assert (method.contrast.weight, method.hfm.cutoff, method.hfm.stages) == (eta, cutoff, (4,))
    assert {method.ce_weight, method.dice_weight, method.cross_ds.weight, method.cross_cs.weight} == {1}
    network = experiment.network
    assert (network.name, network.width, network.norm, network.dropout) == ("vnet", 16, "batch", 0.5)
    other = f"--set method.propagation.temperature={cutoff} --set method.hfm.cutoff=0.5 "
    assert other in recipe_path(name).read_text(encoding="utf-8"), "the other reading of the table"


@pytest.mark.parametrize(("name", "passes"), [("glas", 85), ("ph2", 160), ("hmeps", 0.8 * 11_897), ("la", 4 * 80)])
def test_published_settings_of_diffusion_co_training(name, passes):
    experiment = load_experiment(recipe_path(f"{name}/diffusion-co-training"))
    method, training, epoch = method_config(experiment.method), experiment.train, math.ceil(passes / 8)
    assert training.iterations == method.pretrain.iterations == 200 * epoch
    assert (
        experiment.sampling.labelled * training.accumulate == experiment.sampling.unlabelled * training.accumulate == 8
    )
    assert (training.optimiser, training.lr, training.momentum, training.beta2) == ("adam", 0.01, 0.9, 0.99)
    assert (training.weight_decay, method.pretrain.lr) == (5e-5, 1e-3)
    assert (training.schedule, training.step_every, training.step_factor) == ("step", 50 * epoch, 0.1)
    assert training.warmup == 20 * epoch
    assert {ramp.weight for ramp in (method.semi, method.align, method.reconstruction)} == {5}
    assert (method.rounds.count, method.semi.steps, method.diffusion.schedule) == (5, 200, "linear")
    patch, stride = ((96, 96, 80), (48, 48, 40)) if name == "la" else ((128, 128), (128, 128))
    assert (experiment.sampling.patch_size, experiment.inference.stride) == (patch, stride)
    assert (experiment.network.name, experiment.network.width) == ("diffusion-unet", 64)


SEMIGDA = {"polyp": (145, 435), "isic2018": (207, 622), "bcss": (272, 816), "busi": (52, 155)}


@pytest.mark.parametrize("name", SEMIGDA)
def test_published_settings_of_semigda(name):
    few, many = SEMIGDA[name]
    experiment = load_experiment(recipe_path(f"{name}/semigda"))
    method, training = method_config(experiment.method), experiment.train
    assert (method.align_iterations, training.iterations) == (200 * (few // 12), 350 * (few // 2))
    assert (training.validate_every, round(training.poly_cycle * 350)) == (few // 2, 116)
    assert (method.align_batch, experiment.sampling.labelled, experiment.sampling.unlabelled) == (12, 2, 2)
    assert (method.unlabelled.weight, method.align_unlabelled.weight) == (0.1, 0.1)
    assert (method.mapping_lr, method.encoder_lr, training.lr, training.optimiser) == (2e-3, 1e-2, 1e-2, "sgd")
    assert (training.momentum, training.weight_decay, training.schedule, training.poly_power) == (
        0.9,
        1e-4,
        "poly",
        0.9,
    )
    assert experiment.sampling.patch_size == experiment.preprocess.size == (224, 224)
    lengths = [200 * (many // 12), 350 * (many // 2), many // 2]
    changed = zip(("method.align_iterations", "train.iterations", "train.validate_every"), lengths, strict=True)
    text = recipe_path(f"{name}/semigda").read_text(encoding="utf-8")
    assert all(f"--set {key}={value} " in text for key, value in changed), "30 %"


def test_every_recipe_opens_with_a_comment():
    assert all(recipe_path(name).read_text(encoding="utf-8").startswith("# ") for name in recipe_names())


def test_a_file_of_the_user(tmp_path):
    (tmp_path / "mine.yaml").write_text("train: {lr: 0.5}\n")
    assert load_experiment(recipe_path(str(tmp_path / "mine.yaml"))).train.lr == 0.5
    with pytest.raises(ConfigError, match="did you mean 'la/ua-mt'"):
        recipe_path("la/uamt")
