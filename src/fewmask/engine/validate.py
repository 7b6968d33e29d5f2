"""Validation during training: mean Dice on the preprocessed validation cases."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import torch
from torch import nn

from fewmask.config import InferenceConfig
from fewmask.data.store import Store
from fewmask.engine.distributed import Team
from fewmask.inference.engines import accelerate
from fewmask.inference.sliding_window import default_stride, most_likely, probability_slabs
from fewmask.task import Task


def validation_dice(
    predictor: nn.Module,
    store: Store,
    cases: Sequence[str],
    task: Task,
    config: InferenceConfig,
    *,
    device: torch.device,
    team: Team,
) -> float:
    """Mean Dice over cases and foreground classes, at the resolution of training; pairs that are both empty do not count.

    Each process of the team predicts every ``team.world``-th case; all get the mean over all cases.
    """
    stride = config.stride or default_stride(task.patch_size)
    fast = accelerate(predictor, config.engine, device)
    own: list[float] = []
    for case in cases[team.rank :: team.world]:
        image = torch.from_numpy(np.array(store.image(case)))
        slabs = probability_slabs(
            image,
            fast,
            task.patch_size,
            stride,
            weighting=config.weighting,
            window_batch=config.window_batch,
            device=device,
        )
        labels = np.concatenate([most_likely(slab.numpy()) for _, slab in slabs])
        reference = np.array(store.label(case))
        for label in range(1, task.num_classes):
            mine, theirs = labels == label, reference == label
            size = int(mine.sum() + theirs.sum())
            if size:
                own.append(2 * int((mine & theirs).sum()) / size)
    scores = [score for part in team.gather(own) for score in part]
    return fmean(scores) if scores else 0.0
