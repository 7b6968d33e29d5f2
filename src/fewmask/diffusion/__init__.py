"""Diffusion: how noise grows, how a step is undone, how a network is told the step. It knows no network and no method."""

from fewmask.diffusion.embedding import TimeMLP, sinusoidal_embedding
from fewmask.diffusion.labels import LabelDiffusion, LabelDiffusionConfig
from fewmask.diffusion.predictor import DiffusionPredictor
from fewmask.diffusion.sampling import ddim, evenly_spaced, step_pairs
from fewmask.diffusion.schedule import NoiseSchedule, ScheduleConfig

__all__ = [
    "DiffusionPredictor",
    "LabelDiffusion",
    "LabelDiffusionConfig",
    "NoiseSchedule",
    "ScheduleConfig",
    "TimeMLP",
    "ddim",
    "evenly_spaced",
    "sinusoidal_embedding",
    "step_pairs",
]
