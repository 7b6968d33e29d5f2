"""The experiment schema: one YAML file, checked in full before anything runs.

Every field has a default that works, so a config names only what differs from it. Method settings live under ``method`` beside the
method's name and are checked by the method's own ``Config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fewmask.errors import ConfigError
from fewmask.explain import explain_all
from fewmask.places import refuse_special
from fewmask.plain_yaml import safe_yaml
from fewmask.schema import Lengths, Patch, Section, Sizes

__all__ = ["Lengths", "Section", "Sizes"]  # beside what is defined here
GeometryChoice = Literal["header", "qform", "scan"]


class PreprocessConfig(Section):
    """From the scan as it lies on disk to the array that networks see."""

    geometry: GeometryChoice = Field(
        "header",
        description="where voxels lie. header: as the files say, of NIfTI by the sform before the qform, and files of a case that "
        "disagree are refused; qform: by the qform before the sform; scan: labels and further channels lie voxel by voxel on "
        "their scan, whatever their headers say",
    )
    orientation: Literal["canonical", "keep"] = Field(
        "canonical",
        description="canonical: 3D axes turned to the nearest right-anterior-superior order; keep: as stored",
    )
    spacing: Literal["keep", "median"] | Lengths = Field(
        "keep", description="keep: no resampling; median: the training scans' median; or millimetres per axis"
    )
    size: Sizes | None = Field(
        None, description="resize every image to this many voxels per axis (2D practice); replaces spacing"
    )
    normalisation: Literal["zscore", "minmax", "window", "none"] = Field(
        "zscore",
        description="per image and channel: zero mean and unit variance, [0, 1], a fixed intensity window to [0, 1], or none",
    )
    window: Lengths | None = Field(
        None, description="lowest and highest intensity for normalisation: window, e.g. [-125, 275] HU"
    )
    crop: Literal["none", "nonzero", "body"] = Field(
        "none",
        description="box around what is not empty; needs no label. nonzero: voxels other than 0; body: largest bright component",
    )
    crop_margin: int = Field(4, ge=0, description="voxels left around the cropped box")
    store: Literal["float32", "compact"] = Field(
        "float32",
        description="how prepared scans lie on disk, with no effect on their values. compact: one or two bytes a voxel where "
        "a scan has few distinct values, as scans that are not resampled do; for data sets larger than the memory",
    )

    @model_validator(mode="after")
    def _window_matches(self) -> Self:
        if self.normalisation == "window" and (
            self.window is None or len(self.window) != 2 or self.window[0] >= self.window[1]
        ):
            raise ValueError("normalisation: window needs window: [lowest, highest]")
        if self.size is not None and self.spacing != "keep":
            raise ValueError("set either size or spacing, not both")
        return self


class SamplingConfig(Section):
    """How training patches are drawn."""

    patch_size: Patch | None = Field(None, description="voxels per axis; none: chosen from the data")
    labelled: int = Field(2, ge=1, le=2**16, description="labelled patches in a batch (B_l)")
    unlabelled: int = Field(
        2, ge=1, le=2**16, description="unlabelled patches in a batch (B_u), for the methods that use them"
    )
    foreground: float = Field(
        0.0, ge=0, le=1, description="share of labelled patches centred on a voxel of a random foreground class"
    )
    margin: int = Field(
        3,
        ge=0,
        description="where a side is not larger than the patch: extra zeros at both ends, as the field's random crop",
    )
    workers: int = Field(1, ge=0, le=1024, description="loader processes; the samples are the same whatever the number")


class AugmentConfig(Section):
    """Random changes of a patch; an unlabelled patch gets the same kinds as a labelled one."""

    rotate_flip: bool = Field(True, description="quarter turns in the axial plane and flips along one of its axes")
    always_flip: bool = Field(
        False, description="the field's released code: always one flip, so that no patch keeps its handedness"
    )
    rotate_degrees: float = Field(0.0, ge=0, le=180, description="largest random in-plane rotation; 0: none")
    intensity: float = Field(
        0.0, ge=0, le=1, description="probability of a random brightness, contrast and gamma change"
    )


class NetworkConfig(Section):
    """The network; methods with two networks say on their card how the second differs."""

    name: str | None = Field(None, description="none: vnet in 3D, unet-2d in 2D; `fewmask networks` lists all")
    width: int = Field(16, ge=1, le=2**31, description="channels of the first level; doubles per level")
    norm: Literal["batch", "instance", "group", "none"] | None = Field(
        None, description="none given: the network's published choice"
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="none given: the network's published rates")


class MethodSection(BaseModel):
    """The method's name, and its own settings beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "supervised"

    def settings(self) -> dict[str, Any]:
        """The settings without the name."""
        return dict(self.model_extra or {})


class TrainConfig(Section):
    """The training loop."""

    iterations: int = Field(6000, ge=1, description="optimiser steps")
    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(0.01, gt=0, le=1e6, description="initial learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd's momentum; adam's first beta")
    beta2: float = Field(0.999, ge=0, lt=1, description="adam's second beta")
    weight_decay: float = Field(1e-4, ge=0, le=1e6)
    schedule: Literal["constant", "step", "poly", "cosine"] = "poly"
    step_every: int = Field(2500, ge=1, description="schedule: step; iterations between two drops")
    step_factor: float = Field(0.1, gt=0, le=1, description="schedule: step; factor of a drop")
    poly_power: float = Field(0.9, gt=0, description="schedule: poly; lr (1 - i / iterations)^power")
    warmup: int = Field(
        0, ge=0, description="iterations over which the schedule's rate is reached from zero, by equal steps"
    )
    poly_cycle: float = Field(
        1.0, gt=0, le=1, description="schedule: poly; share of a phase after which it begins anew"
    )
    accumulate: int = Field(1, ge=1, description="batches whose gradients make one optimiser step")
    clip_norm: float | None = Field(None, gt=0, description="largest gradient norm; none: no clipping")
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    memory_format: Literal["auto", "contiguous", "channels_last"] = Field(
        "auto",
        description="of feature maps. auto: channels_last under bf16 and fp16 for networks without group and instance norm, "
        "else contiguous, with the losses of plain torch",
    )
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(
        1,
        ge=1,
        description="GPUs (on a CPU: processes) of a node; each takes a batch of its own; torchrun and srun decide",
    )
    nodes: int = Field(1, ge=1, description="machines; torchrun and srun decide")
    seed: int = Field(0, ge=0, lt=2**32, description="of networks, patches and dropout")
    validate_every: int = Field(
        200, ge=1, description="iterations between two validations, where the split has validation cases"
    )
    checkpoint_every: int = Field(200, ge=1, description="iterations between two checkpoints")
    log_every: int = Field(10, ge=1, description="iterations between two rows of metrics.csv")
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = Field(
        (), description="rows also for tensorboard, mlflow and wandb, in the run folder; each needs its extra"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_older_runs(cls, values: Any) -> Any:
        """Configs of older run folders have a switch for TensorBoard alone."""
        if not isinstance(values, dict) or "tensorboard" not in values or "loggers" in values:
            return values
        rest = {key: value for key, value in values.items() if key != "tensorboard"}
        return {**rest, "loggers": ("tensorboard",) if values["tensorboard"] is True else ()}


class InferenceConfig(Section):
    """From a scan to its label map."""

    stride: Sizes | None = Field(None, description="voxels between two windows; none: half the patch")
    weighting: Literal["uniform", "gaussian"] = Field("uniform", description="how overlapping windows are averaged")
    window_batch: int = Field(1, ge=1, description="windows that go through the network at once")
    engine: Literal["eager", "fused", "bf16"] = Field(
        "eager",
        description="eager: the network as trained; fused: batch norms folded in, probabilities move by about 1e-5; "
        "bf16: faster and rougher, for processors with bfloat16 units",
    )
    checkpoint: Literal["auto", "last", "best"] = Field(
        "auto", description="auto: best on validation where there was one, else last"
    )
    flips: bool = Field(False, description="average over mirrored copies of each window (test-time augmentation)")
    largest_component: bool = Field(False, description="keep the largest connected component of each foreground class")


class EvaluationConfig(Section):
    """How predictions are scored."""

    unit: Literal["mm", "voxel"] = Field("mm", description="unit of the distances")
    nsd_tolerance: float | None = Field(
        None, gt=0, description="also report the surface Dice at this tolerance, as nsd@t"
    )


class Experiment(Section):
    """Everything that determines a run, apart from the data set and the split."""

    preprocess: PreprocessConfig = PreprocessConfig()
    sampling: SamplingConfig = SamplingConfig()
    augment: AugmentConfig = AugmentConfig()
    network: NetworkConfig = NetworkConfig()
    method: MethodSection = MethodSection()
    train: TrainConfig = TrainConfig()
    inference: InferenceConfig = InferenceConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    def to_yaml(self) -> str:
        """The config as text that `load_experiment` reads back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def validate(model: type[Section], values: Mapping[str, Any], where: str) -> Any:
    """Check ``values`` against a section of the schema.

    Args:
        model: the section's class.
        values: plain values, as read from YAML.
        where: what the values came from; opens the error.

    Raises:
        ConfigError: names the wrong keys with the nearest valid one, and the wrong values with the reason.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain_all(model, error.errors())}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds something else.
    """
    try:
        refuse_special(path)
        values = safe_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not valid YAML ({' '.join(str(error).split())}); mend it") from None
    if not isinstance(values or {}, dict):
        raise ConfigError(f"{path}: must hold 'key: value' pairs, but holds a {type(values).__name__}")
    return values or {}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` on top, mapping by mapping. Settings of a method go when its name changes."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if key == "method" and isinstance(value, Mapping) and isinstance(old, Mapping):
            name = old.get("name", MethodSection().name)
            old = old if value.get("name", name) == name else {}
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def parse_assignment(text: str) -> dict[str, Any]:
    """``"train.lr=0.1"`` as ``{"train": {"lr": 0.1}}``; the value is read as YAML.

    Raises:
        ConfigError: there is no ``=`` or no key before it, or the value is not YAML.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {text!r}: write KEY=VALUE, for example train.iterations=2000")
    try:
        nested: Any = safe_yaml(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"--set {text[:80]!r}: the value is not valid YAML; put quotes around it") from None
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    return dict(nested)


def load_experiment(path: Path | None = None, changes: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a YAML file (or all defaults) with changes on top.

    Raises:
        ConfigError: see `validate` and `read_yaml`.
    """
    values = read_yaml(path) if path else {}
    experiment: Experiment = validate(Experiment, merge(values, changes or {}), str(path) if path else "config")
    return experiment
