"""The plan of a run before it runs: sizes, and time and memory measured on a few real steps."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch

from fewmask.data.batch import Batch
from fewmask.engine.distributed import make_fabric
from fewmask.engine.job import Job
from fewmask.engine.memory_format import lay_out
from fewmask.engine.optim import build_optimiser, turn_config
from fewmask.methods.base import Method, Phase, Progress, build_method
from fewmask.networks.base import network_name
from fewmask.networks.counting import count_parameters
from fewmask.words import duration

STEPS = 3


def measure_plan(job: Job) -> dict[str, Any]:
    """What a run will do and cost.

    A few training steps of each phase are really run, on random patches of the real size; the first of them, which warms up, is not
    counted in the time. Validation and loading are not in the estimate.

    Returns:
        Plain values by name, in the order in which to show them.
    """
    experiment, config = job.experiment, job.experiment.train
    fabric = make_fabric(config.model_copy(update={"devices": 1, "nodes": 1}))
    torch.manual_seed(config.seed)
    method: Method = build_method(job.task, experiment.method, experiment.network)
    parameters, trained = sum(p.numel() for p in method.parameters()), count_parameters(method)
    lay_out(method, config, job.task.spatial_dims)
    model = fabric.setup_module(method)
    phases = [(phase, phase.length(config.iterations)) for phase in method.phases()]
    seconds = sum(_seconds_per_step(job, phase, fabric, model, method) * length for phase, length in phases)
    return {
        "method": experiment.method.name,
        "network": f"{network_name(job.task, experiment.network)}, width {experiment.network.width}",
        "parameters": f"{parameters:,} ({trained:,} trained)",
        "cases": f"{len(job.split.labelled)} labelled, {len(job.split.unlabelled)} unlabelled, "
        f"{len(job.split.validation)} validation, {len(job.split.test)} test",
        "patch": " x ".join(map(str, job.task.patch_size)),
        "spacing": _spacing(job),
        "batch": f"{experiment.sampling.labelled} labelled + {experiment.sampling.unlabelled if method.uses_unlabelled else 0} unlabelled",
        "iterations": sum(length for _, length in phases),
        "device": str(fabric.device),
        "precision": config.precision,
        "estimated_time": duration(seconds),
        "estimated_memory": _peak_memory(fabric.device),
    }


def _spacing(job: Job) -> str:
    unit = job.store.record(job.split.labelled[0]).unit
    return " x ".join(f"{length:.3g}" for length in job.task.spacing) + f" {unit}"


def _seconds_per_step(job: Job, phase: Phase, fabric: Any, model: Any, method: Method) -> float:
    config = job.experiment.train
    turns = method.turns(phase.name)
    optimisers = [fabric.setup_optimizers(build_optimiser(turn_config(config, turn), turn)) for turn in turns]
    batch = _random_batch(job, phase, method).map(fabric.to_device)
    progress = Progress(0, phase.length(config.iterations), phase.name)
    began = time.perf_counter()
    for step in range(STEPS):
        if step == 1:
            began = time.perf_counter()
        for turn, optimiser in zip(turns, optimisers, strict=True):
            method.zero_grad(set_to_none=True)
            for _ in range(config.accumulate):
                result = model(batch, progress._replace(turn=turn.name))
                fabric.backward(result.loss)
            optimiser.step()
        method.after_step(progress)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - began) / (STEPS - 1)


def _random_batch(job: Job, phase: Phase, method: Method) -> Batch:
    sampling, task = phase.sampled(job.experiment.sampling), job.task
    labelled = sampling.labelled if phase.labelled else 0
    unlabelled = sampling.unlabelled if phase.unlabelled and method.uses_unlabelled else 0
    views = torch.randn(unlabelled, task.in_channels, *task.patch_size)
    return Batch(
        torch.randn(labelled, task.in_channels, *task.patch_size),
        torch.randint(task.num_classes, (labelled, *task.patch_size)),
        views,
        views if method.strong_views else None,
    )


def _peak_memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"
    if sys.platform == "win32":
        return "unknown (Windows keeps no record of it)"
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"
