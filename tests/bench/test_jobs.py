import shutil
from pathlib import Path

import pytest
import yaml

from fewmask.bench.jobs import expand
from fewmask.bench.suite_files import find_suite
from fewmask.bench.work import Order, do_job
from fewmask.config import MethodSection, load_experiment
from fewmask.data.dataset import Dataset
from fewmask.engine.train import train
from fewmask.errors import ConfigError, RunError
from fewmask.run_folder import RunFolder

CO = "diffusion-co-training"


def test_a_job_for_each_combination(write_suite, tmp_path):
    jobs = expand(find_suite(str(write_suite())), tmp_path / "out")
    places = [str(job.place) for job in jobs]
    assert places[:3] == ["blobs/2/supervised-seed0", "blobs/2/mean-teacher-seed0", "blobs/2/supervised-seed1"]
    assert places[-1] == "blobs/75percent/mean-teacher-seed1" and len(places) == 8
    assert jobs[1].folder == tmp_path / "out/blobs/2/mean-teacher-seed0"
    assert jobs[1].experiment.method.name == "mean-teacher" and jobs[2].experiment.train.seed == 1


def test_settings_from_general_to_special(write_suite, tmp_path):
    suite = write_suite(
        set={"train.lr": 0.1, "train.momentum": 0.1, "network.width": 3},
        blobs={
            "set": {"train.lr": 0.2, "train.momentum": 0.2},
            "exceptions": [
                {"method": "slow", "labelled": "75%", "set": {"train.lr": 0.4}},
                {"method": "cps", "labelled": 2, "skip": True},
            ],
        },
        methods=[
            "supervised",
            "cps",
            {"name": "mean-teacher", "label": "slow", "set": {"train.lr": 0.3, "method.ema_decay": 0.5}},
        ],
        unit="voxel",
    )
    jobs = {str(job.place): job.experiment for job in expand(find_suite(str(suite)), tmp_path)}
    first, second = jobs["blobs/2/slow-seed0"], jobs["blobs/75percent/slow-seed0"]
    assert (first.train.lr, second.train.lr, jobs["blobs/2/supervised-seed0"].train.lr) == (0.3, 0.4, 0.2)
    assert (first.train.momentum, first.network.width, first.evaluation.unit) == (0.2, 3, "voxel")
    assert first.method.settings() == {"ema_decay": 0.5}
    assert "blobs/75percent/cps-seed0" in jobs and "blobs/2/cps-seed0" not in jobs


def test_the_first_recipe_that_is_there(write_suite, tmp_path):
    suite = find_suite(
        str(
            write_suite(
                blobs={"recipe": ["la/{method}-{labelled}", "la/{method}", "la/supervised"], "labelled": [4, 5]},
                methods=["supervised", "diff-cl", "semigda"],
            )
        )
    )
    jobs = {str(job.place): job.experiment for job in expand(suite, tmp_path) if job.place.seed == 0}
    assert jobs["blobs/4/diff-cl-seed0"].method.settings()["contrast"] == {"weight": 0.7}
    assert jobs["blobs/5/diff-cl-seed0"].train.iterations == jobs["blobs/5/semigda-seed0"].train.iterations == 6000
    assert jobs["blobs/5/semigda-seed0"].method.settings() == {}
    with pytest.raises(ConfigError, match="there is no recipe 'la/nothing'"):
        expand(find_suite(str(write_suite(blobs={"recipe": ["la/none", "la/nothing"]}))), tmp_path)


def test_unknown_methods_and_settings_are_found_before_anything_runs(write_suite, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'mean-teacher'"):
        expand(find_suite(str(write_suite(methods=["mean-teecher"], baseline=None))), tmp_path)
    with pytest.raises(ConfigError, match="ema_decay"):
        expand(
            find_suite(
                str(write_suite(methods=[{"name": "mean-teacher", "set": {"method.ema_dekay": 1}}], baseline=None))
            ),
            tmp_path,
        )


def test_splits(write_suite, tmp_path, blobs):
    """One seed gives all methods the same cases; a protocol with a published order keeps it for every seed."""
    dataset = Dataset.open(blobs)
    splits = {str(job.place): job.rule.split(dataset) for job in expand(find_suite(str(write_suite())), tmp_path)}
    assert (
        splits["blobs/2/supervised-seed0"] == splits["blobs/2/mean-teacher-seed0"] == dataset.split(labelled=2, seed=0)
    )
    assert splits["blobs/2/supervised-seed1"] == dataset.split(labelled=2, seed=1)
    assert len(splits["blobs/75percent/supervised-seed1"].labelled) == 3
    rules = {}
    for protocol, ordered in (("la/paper", None), ("la/co-training", None), ("la/paper", False), (None, True)):
        suite = write_suite(
            blobs={"protocol": protocol, "ordered": ordered, "recipe": "la/supervised"}, methods=["supervised"]
        )
        rules[protocol, ordered] = [job.rule.seed for job in expand(find_suite(str(suite)), tmp_path)][:2]
    assert rules == {
        ("la/paper", None): [None, None],
        ("la/co-training", None): [0, 1],
        ("la/paper", False): [0, 1],
        (None, True): [None, None],
    }


def test_runs_that_start_from_another(write_suite, tmp_path):
    methods = [
        "supervised",
        {"name": "diffusion-co-training", "label": "own", "starts_from": {"method.pretrained": "own"}},
        {"name": "diffusion-co-training", "label": "other", "starts_from": {"method.pretrained": "own"}},
    ]
    jobs = {str(job.place): job for job in expand(find_suite(str(write_suite(methods=methods))), tmp_path)}
    first = jobs["blobs/2/own-seed0"]
    assert first.starts_from == {} and "pretrained" not in first.experiment.method.settings()
    for name in ("blobs/2/own-seed1", "blobs/75percent/own-seed0", "blobs/2/other-seed0"):
        assert jobs[name].starts_from == {"method.pretrained": first.folder.resolve()}
        assert jobs[name].experiment.method.settings()["pretrained"] == str(first.folder.resolve())


@pytest.fixture
def job(write_suite, tmp_path):
    """The first job of a suite, done."""
    path = write_suite(blobs={"labelled": [2]}, seeds=[0], methods=["supervised"])
    job = expand(find_suite(str(path)), tmp_path / "out")[0]
    order = Order(job, Path(yaml.safe_load(path.read_text())["data"]["blobs"]["dataset"]))
    order.write()
    do_job(Order.read(job.notes))
    return job


def test_a_job_leaves_a_scored_run_folder(job, tmp_path):
    assert job.scored and (job.folder / "predictions/scores.csv").is_file()
    assert sorted(path.name for path in job.folder.glob("predictions/*.png")) == ["test_000.png", "test_001.png"]


def test_a_metric_that_is_asked_for_later_is_work_to_do(write_suite, tmp_path):
    path = write_suite(blobs={"labelled": [2]}, seeds=[0], methods=["supervised"], also="hd_rowset")
    (job,) = expand(find_suite(str(path)), tmp_path / "out")
    assert not job.scored
    job.summary.parent.mkdir(parents=True)
    job.summary.write_text('{"mean": {"metrics": {"dice": {}}}}')
    assert not job.scored
    job.summary.write_text('{"mean": {"metrics": {"dice": {}, "hd_rowset": {}}}}')
    assert job.scored


def test_a_run_that_was_killed_while_it_wrote_its_settings_begins_anew(write_suite, tmp_path):
    path = write_suite(blobs={"labelled": [2]}, seeds=[0], methods=["supervised"])
    (job,) = expand(find_suite(str(path)), tmp_path / "out")
    job.folder.mkdir(parents=True)
    (job.folder / "config.yaml").write_text(job.experiment.to_yaml())  # `create` writes the split after it
    job.check_same()
    (job.folder / "environment.json").write_text("{}")
    with pytest.raises(RunError, match=r"split\.json"):
        job.check_same()


def test_a_run_with_other_settings_is_not_taken_for_this_one(write_suite, job, tmp_path, blobs):
    changed = write_suite(blobs={"labelled": [2]}, seeds=[0], methods=["supervised"], set={"train.lr": 0.5})
    again = expand(find_suite(str(changed)), tmp_path / "out")[0]
    with pytest.raises(
        ConfigError, match=r"supervised-seed0 was started with other settings: train.lr \(0.01 then, 0.5 now\)"
    ):
        again.check_same()
    with pytest.raises(ConfigError, match="other settings"):
        do_job(Order(again, blobs))


def test_a_run_from_elsewhere_is_recognised(write_suite, job, blobs, tmp_path):
    """What the data decide, and where the run lies that it started from, may stand there in another way."""
    recipe = {
        "preprocess": {"spacing": "median"},
        "sampling": {"workers": 0},
        "network": {"width": 2, "norm": "group"},
        "train": {"iterations": 2, "accelerator": "cpu"},
    }
    path = write_suite(recipe, blobs={"labelled": [2]}, seeds=[0], methods=["supervised"], set={"sampling.workers": 1})
    wanted = expand(find_suite(str(path)), tmp_path / "moved")[0]
    dataset = Dataset.open(blobs)
    train(load_experiment(changes=recipe), dataset, dataset.split(labelled=2, seed=0), tmp_path / "by-hand")
    wanted.folder.parent.mkdir(parents=True)
    shutil.move(tmp_path / "by-hand", wanted.folder)
    run = RunFolder(wanted.folder)
    assert run.experiment().sampling.patch_size is not None and run.experiment().preprocess.spacing != "median"
    wanted.check_same(dataset.split(labelled=2, seed=0))
    with pytest.raises(ConfigError, match="the split"):
        wanted.check_same(dataset.split(labelled=2, seed=1))


def test_a_run_may_have_started_from_elsewhere_or_have_done_it_alone(write_suite, tmp_path):
    own = {
        "name": CO,
        "starts_from": {"method.pretrained": CO},
        "first": {"method.pretrain.iterations": 3},
    }
    suite = find_suite(str(write_suite(methods=["supervised", own], blobs={"labelled": [2]})))
    first, second = (job for job in expand(suite, tmp_path / "out") if job.place.label == CO)
    assert first.experiment.method.settings() == {"pretrain": {"iterations": 3}}
    assert "pretrain" not in second.experiment.method.settings()

    def found(**settings):
        """What the second run would have to be, where a run with these settings is found in its place."""
        section = MethodSection(name=CO, **settings)
        second.folder.mkdir(parents=True, exist_ok=True)
        (second.folder / "config.yaml").write_text(second.experiment.model_copy(update={"method": section}).to_yaml())
        settings = second.as_found().method.settings()
        return settings["pretrained"], settings["pretrain"]["iterations"]

    assert found(pretrained="/elsewhere") == ("/elsewhere", None)
    assert found(pretrain={"iterations": 5}) == (None, 3)
