from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fewmask.config import TrainConfig
from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.fit import Trainer
from fewmask.engine.interrupt import InterruptedRunError
from fewmask.engine.job import assemble
from fewmask.engine.memory_format import lays_channels_last
from fewmask.engine.train import train
from fewmask.methods.base import Phase, Progress, build_method
from fewmask.run_folder import RunFolder
from helpers import write_dataset
from toys import Recorder, small_experiment, small_network, small_task

SPLIT = Split(labelled=("case_000", "case_001"), unlabelled=("extra_000", "extra_001"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "Dataset001_Blobs"
    return Dataset.open(write_dataset(root, cases=2, unlabelled=2, dims=2))


def experiment(norm="batch", method="mean-teacher", **changes):
    return small_experiment(method, network={"norm": norm, "dropout": 0.5}, train=changes)


@pytest.mark.parametrize(
    ("precision", "norm", "wanted"),
    [
        ("fp32", "batch", False),
        ("bf16", "batch", True),
        ("fp16", "batch", True),
        ("bf16", "none", True),
        ("bf16", "group", False),
        ("bf16", "instance", False),
    ],
)
def test_auto_goes_by_precision_and_norm(precision, norm, wanted):
    method = build_method(small_task(), small_experiment().method, small_network(norm=norm))
    assert lays_channels_last(method, TrainConfig(precision=precision)) is wanted
    for choice in ("contiguous", "channels_last"):
        config = TrainConfig(precision=precision, memory_format=choice)
        assert lays_channels_last(method, config) is (choice == "channels_last")


def kernels(module):
    return [p for p in module.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[-1] > 1]


@pytest.mark.parametrize(("changes", "last"), [({}, False), ({"precision": "bf16"}, True)])
def test_weights_of_student_and_teacher_have_the_layout(dataset, tmp_path, changes, last):
    trainer = Trainer(assemble(experiment(**changes), dataset, SPLIT), RunFolder(tmp_path / "run"))
    found = []
    for part in trainer.method.modules():
        if isinstance(part, nn.Conv2d) and part.in_channels > 1 and part.kernel_size[0] > 1:
            part.register_forward_hook(
                lambda module, inputs, output: found.append(
                    output.is_contiguous(memory_format=torch.channels_last) and not output.is_contiguous()
                )
            )
    trainer.fit()
    assert found and set(found) == {last}, "feature maps follow"
    for network in (trainer.method.student, trainer.method.teacher):
        for kernel in kernels(network):
            assert kernel.is_contiguous(memory_format=torch.channels_last) is last
            assert kernel.is_contiguous() is not last
    saved = load_file(trainer.run.weights("last"))
    torch.testing.assert_close(dict(trainer.method.predictor().state_dict()), saved, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["supervised", "ua-mt", "cps"])
def test_default_losses_are_those_of_a_plain_loop_bit_for_bit(dataset, tmp_path, method):
    job = assemble(experiment(method=method), dataset, SPLIT)
    trainer = Trainer(job, RunFolder(tmp_path / "run"), heard := Recorder())
    trainer.fit()
    config = job.experiment.train
    torch.manual_seed(config.seed)
    plain = build_method(job.task, job.experiment.method, job.experiment.network).train()
    optimiser = torch.optim.SGD(plain.parameters(), lr=config.lr, momentum=0.9, weight_decay=1e-4)
    for done in range(config.iterations):
        torch.manual_seed(config.seed * 1_000_003 + done)
        optimiser.param_groups[0]["lr"] = config.lr * (1 - done / config.iterations) ** 0.9
        progress = Progress(done, config.iterations)
        loss = plain(job.stream(Phase()).batch(done), progress).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plain.after_step(progress)
        assert heard.steps[done][1]["loss"] == loss.item()


def test_a_channels_last_run_resumes_bit_for_bit(dataset, tmp_path):
    settings = experiment(precision="bf16")
    whole = train(settings, dataset, SPLIT, tmp_path / "whole")
    with pytest.raises(InterruptedRunError):
        train(settings, dataset, SPLIT, tmp_path / "cut", listener=Recorder(stop_after=3))
    cut = train(settings, dataset, SPLIT, tmp_path / "cut", resume=True)
    torch.testing.assert_close(load_file(whole.weights()), load_file(cut.weights()), rtol=0, atol=0)
