from __future__ import annotations

import pytest

from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.job import assemble, choose_patch
from fewmask.engine.plan import measure_plan
from fewmask.engine.train import default_split
from fewmask.errors import ConfigError
from fewmask.methods import METHODS, Phase
from fewmask.networks import build_network
from fewmask.networks.counting import count_parameters
from helpers import write_dataset
from toys import registered, small_experiment

SPLIT = Split(labelled=("case_000", "case_001"), unlabelled=("extra_000",), validation=("case_002",))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "Dataset001_Blobs"
    return Dataset.open(write_dataset(root, cases=10, unlabelled=2, test=1, dims=2, classes=3))


@pytest.mark.parametrize(
    ("shapes", "patch"),
    [
        ([(40, 36)], (48, 48)),
        ([(32, 64), (32, 64)], (32, 64)),
        ([(512, 512)], (256, 256)),
        ([(1000, 100)], (576, 112)),  # the long side gives way until 256 x 256 voxels hold it
        ([(112, 112, 80)], (112, 112, 80)),
        ([(200, 180, 9)], (208, 192, 16)),  # cardiac: few slices are filled up
        ([(14, 16, 10)], (16, 32, 16)),  # one voxel at the deepest level is none to scale by its spread
        ([(10, 10, 10), (90, 90, 90), (30, 30, 30)], (32, 32, 32)),
    ],
)
def test_the_patch_that_the_data_suggest(shapes, patch):
    assert choose_patch(shapes) == patch


def test_everything_that_depends_on_the_data_is_resolved(dataset):
    experiment = small_experiment(sampling={"patch_size": None}, preprocess={"spacing": "median"})
    job = assemble(experiment, dataset, SPLIT)
    assert job.experiment.sampling.patch_size == job.task.patch_size == (48, 48)
    assert job.experiment.preprocess.spacing != "median"
    assert job.task.class_names == ("background", "class 1", "class 2")
    assert (job.task.spatial_dims, job.task.in_channels, job.task.num_classes) == (2, 1, 3)


def test_streams_hold_what_phase_and_method_want(dataset):
    job = assemble(small_experiment("mean-teacher"), dataset, SPLIT)
    streams = job.stream(Phase()).streams
    assert (streams.labelled, streams.unlabelled) == (SPLIT.labelled, SPLIT.unlabelled)
    assert job.stream(Phase(labelled=False)).streams.labelled == ()
    assert job.stream(Phase(unlabelled=False)).streams.unlabelled == ()
    assert assemble(small_experiment(), dataset, SPLIT).stream(Phase()).streams.unlabelled == ()


@pytest.mark.parametrize(
    ("method", "sections", "message"),
    [
        ("supervised", {"sampling": {"patch_size": [32, 32, 32]}}, "has 3 numbers, but the scans are 2D"),
        ("supervised", {"sampling": {"patch_size": [33, 32]}}, r"multiple of 16; nearest: \[32, 32\]"),
        ("supervised", {"sampling": {"patch_size": [0, 32]}}, "multiple of 16"),
        ("supervised", {"inference": {"stride": [64, 16]}}, r"inference\.stride \[64, 16\]: give 2 numbers"),
        ("supervised", {"inference": {"stride": [16]}}, "give 2 numbers"),
        ("supervised", {"inference": {"stride": [0, 16]}}, "from 1 to"),
        ("nope", {}, "no method named 'nope'"),
        ("mean-teacher", {"method": {"ema_dekay": 0.9}}, "did you mean 'ema_decay'"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_runs(dataset, method, sections, message):
    with pytest.raises(ConfigError, match=message):
        assemble(small_experiment(method, **sections), dataset, SPLIT)


def test_a_method_for_unlabelled_scans_needs_some(dataset):
    alone = Split(labelled=("case_000",))
    assemble(small_experiment(), dataset, alone)
    with pytest.raises(ConfigError, match="method cps learns from unlabelled scans, but the split has none"):
        assemble(small_experiment("cps"), dataset, alone)


def test_the_default_split(dataset):
    every = default_split(dataset)
    assert (len(every.labelled), len(every.validation), len(every.unlabelled)) == (8, 2, 2)
    few = default_split(dataset, labelled=4)
    assert (len(few.labelled), len(few.validation), len(few.unlabelled)) == (4, 0, 8)
    assert len(default_split(dataset, labelled=4, validation=1).validation) == 1


@pytest.mark.parametrize(
    ("method", "networks", "trained"), [("supervised", 1, 1), ("mean-teacher", 2, 1), ("cps", 2, 2)]
)
def test_the_plan(dataset, method, networks, trained):
    job = assemble(small_experiment(method), dataset, SPLIT)
    plan = measure_plan(job)
    one = count_parameters(build_network(job.task, job.experiment.network))
    assert plan["parameters"] == f"{networks * one:,} ({trained * one:,} trained)"
    assert plan["method"] == method and plan["network"].startswith("unet-2d, width ")
    assert plan["iterations"] == 6
    assert plan["patch"] == "32 x 32"
    assert plan["cases"] == "2 labelled, 1 unlabelled, 1 validation, 0 test"
    assert plan["batch"] == f"2 labelled + {0 if method == 'supervised' else 2} unlabelled"
    assert plan["device"] == "cpu"
    assert plan["estimated_time"].endswith(" s")
    assert float(plan["estimated_memory"].removesuffix(" GiB")) > 0


def test_the_time_of_a_plan_grows_with_the_iterations(dataset):
    plan = measure_plan(assemble(small_experiment(train={"iterations": 10_000_000}), dataset, SPLIT))
    assert " h " in plan["estimated_time"]
    assert plan["iterations"] == 10_000_000


def test_the_plan_counts_and_tells_a_method_each_phase_by_its_own_length(dataset):
    seen = set()

    class Phased(METHODS["supervised"]):
        def phases(self):
            return [Phase("warm-up", 4), Phase("main")]

        def after_step(self, progress):
            seen.add((progress.phase, progress.iterations))

    with registered("phased", Phased):
        assert measure_plan(assemble(small_experiment("phased"), dataset, SPLIT))["iterations"] == 4 + 6
    assert seen == {("warm-up", 4), ("main", 6)}
