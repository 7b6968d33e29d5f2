"""The contract between a method and the engine.

A method builds its networks, turns a batch into a loss, updates its teachers, and says which network predicts. It owns no loop, no
loader, no device and no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.components.collapse import CollapseMonitor
from fewmask.components.losses import supervised_loss
from fewmask.config import MethodSection, NetworkConfig, SamplingConfig, Section, merge, validate
from fewmask.data.batch import Batch
from fewmask.errors import ConfigError
from fewmask.networks import Network, build_network
from fewmask.registry import Registry
from fewmask.task import Task


class Progress(NamedTuple):
    """Where the training is.

    Attributes:
        iteration: steps done in this phase; the first forward sees 0.
        iterations: steps of this phase in all.
        phase: its name.
        turn: the name of the turn within the step (see `Turn`).
    """

    iteration: int
    iterations: int
    phase: str = "train"
    turn: str = "main"


@dataclass
class Step:
    """What a forward returns.

    Attributes:
        loss: the scalar to minimise in this turn.
        logs: named numbers for the log; unweighted terms, weights, shares.
        images: named tensors for a picture log, may be empty.
    """

    loss: Tensor
    logs: dict[str, Tensor | float] = field(default_factory=dict)
    images: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, term: Tensor, weight: float) -> Self:
        """Add ``weight * term`` to the loss; the log has ``name``, the term without its weight, and ``name_weight``."""
        self.loss = self.loss + weight * term
        self.logs |= {name: term.detach(), f"{name}_weight": weight}
        return self

    def watch(self, found: Tensor) -> Self:
        """Log, as ``pseudo_foreground``, the share of foreground in the classes ``(B_u, *S)`` that are found on unlabelled patches."""
        self.logs["pseudo_foreground"] = (found > 0).float().mean()
        return self

    def join(self, other: Step, suffix: str) -> Self:
        """Add another network's loss; its logs go by their names with a suffix."""
        self.loss = self.loss + other.loss
        self.logs |= {f"{name}_{suffix}": value for name, value in other.logs.items()}
        return self


@dataclass(frozen=True)
class Phase:
    """A stretch of training with optimisers of its own.

    Attributes:
        name: reaches the method in `Progress.phase`.
        iterations: its length; none: ``train.iterations``.
        labelled: whether its batches hold labelled patches.
        unlabelled: whether its batches hold unlabelled patches.
        all_images: the labelled scans' images are among its unlabelled patches, in an order that does not depend on who is labelled.
        validated: whether the predictor is already worth a validation.
        keeps: the part of the method whose weights are kept when it ends, as ``checkpoints/<name>.safetensors``, for other runs
            to start from (see `Method.starts_from`); empty: none.
        settings: of the method that these weights depend on, by key; weights with others are refused.
        sampling: fields of ``sampling`` that differ in it, such as ``{"labelled": 12}``.
    """

    name: str = "train"
    iterations: int | None = None
    labelled: bool = True
    unlabelled: bool = True
    all_images: bool = False
    validated: bool = True
    keeps: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def sampled(self, sampling: SamplingConfig) -> SamplingConfig:
        """How its patches are drawn, where ``sampling`` is the run's."""
        merged: SamplingConfig = validate(
            SamplingConfig, merge(sampling.model_dump(), self.sampling), f"sampling of phase {self.name}"
        )
        return merged

    def length(self, default: int) -> int:
        """Its steps, where ``default`` is ``train.iterations``."""
        return self.iterations or default


@dataclass(frozen=True)
class Turn:
    """One backward pass and optimiser step within a training step.

    Attributes:
        name: reaches the method in `Progress.turn`.
        parameters: what this turn's optimiser changes.
        optimiser: fields of ``train`` that differ for it, e.g. ``{"optimiser": "adam", "lr": 1e-4}``.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    optimiser: Mapping[str, Any] = field(default_factory=dict)


class MethodConfig(Section):
    """Settings that all methods share: the supervised loss ``ce_weight CE + dice_weight Dice``."""

    ce_weight: float = Field(0.5, ge=0, description="weight of the cross-entropy on labelled patches")
    dice_weight: float = Field(0.5, ge=0, description="weight of the Dice loss on labelled patches")
    dice_squared: bool = Field(True, description="squares in the Dice loss's denominator; false: plain sums")
    dice_background: bool = Field(
        True, description="average the Dice loss over all classes; false: over the foreground only"
    )


class Method(nn.Module):
    """Base of all methods; see `docs/methods.md` for how to add one.

    Args:
        task: the problem.
        config: the method's own settings, an instance of its ``Config``.
        network: which network to build.

    Attributes:
        Config: the class of the settings.
        uses_unlabelled: whether batches must hold unlabelled patches.
        strong_views: whether batches must hold `Batch.unlabelled_strong`.
        distance_maps: whether batches must hold `Batch.distances`.
        spatial_dims: the dimensions it is defined for.
        family: its family, as ``fewmask methods`` prints it.
        year: when it was published.
        idea: itself in one line.
        released: settings that ``as_released: true`` replaces, for methods whose config has that field; a method may also read the flag
            itself, for what is no setting.
        networks: what it trains and keeps beside it, in a few words.
        cost: multiply-adds of a training step with its default settings, forward and backward, as a multiple of those of
            ``supervised``, which sees the labelled half of the batch alone; in 2D where the method has 2D.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    uses_unlabelled: ClassVar[bool] = True
    strong_views: ClassVar[bool] = False
    distance_maps: ClassVar[bool] = False
    spatial_dims: ClassVar[tuple[int, ...]] = (2, 3)
    family: ClassVar[str] = ""
    year: ClassVar[int] = 0
    idea: ClassVar[str] = ""
    networks: ClassVar[str] = "1"
    released: ClassVar[Mapping[str, Any]] = {}
    cost: ClassVar[float | None] = None

    def __init__(self, task: Task, config: MethodConfig, network: NetworkConfig) -> None:
        super().__init__()
        self.task = task
        self.config = config.model_copy(update=self.released) if getattr(config, "as_released", False) else config
        self.network_config = network
        self.build()

    def build(self) -> None:
        """Make the networks and what else is kept, from `task`, `config` and `network_config`; called once, when these are set."""

    def build_network(self, name: str | None = None, **options: Any) -> Network:
        """A fresh network of the configured kind, or of another kind by name: image ``(B, C, *S)`` to logits ``(B, K, *S)``."""
        config = self.network_config if name is None else self.network_config.model_copy(update={"name": name})
        return build_network(self.task, config, **options)

    def phases(self) -> list[Phase]:
        """The phases of the training, in order."""
        return [Phase()]

    def starts_from(self) -> tuple[str, Phase] | None:
        """Weights to begin with: the path of a run folder or of a safetensors file, and the phase that kept them there."""
        return None

    def begin(self) -> None:
        """Called once before the first step of a new run, not of one that continues: weights that other programs have saved."""

    def turns(self, phase: str) -> list[Turn]:
        """The optimisers of a phase in the order of their turns; one for all that trains unless overridden."""
        return [Turn("main", [p for p in self.parameters() if p.requires_grad])]

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The loss of one turn."""
        raise TypeError(f"{type(self).__name__} must define forward(batch, progress)")

    def after_step(self, progress: Progress) -> None:
        """Called once after the optimisers of a step: teacher update, memory bank. Unless overridden, a `CollapseMonitor` may warn."""
        for part in self.children():
            if isinstance(part, CollapseMonitor):
                part.warn(progress.iteration + 1)

    def predictor(self) -> nn.Module:
        """What prediction, evaluation and export use: image ``(B, C, *S)`` to class probabilities ``(B, K, *S)``.

        Unless overridden, the softmax of the method's ``network``.
        """
        network = getattr(self, "network", None)
        if not isinstance(network, nn.Module):
            raise TypeError(f"{type(self).__name__} must define predictor(), or have a network of that name")
        return SoftmaxPredictor(network)

    def supervised(self, logits: Tensor, labels: Tensor) -> Step:
        """The supervised loss of the shared settings, logged as ``ce`` and ``dice_loss``.

        Args:
            logits: ``(B, K, *S)``, the labelled patches' first; what comes behind them does not count.
            labels: ``(B_l, *S)``.
        """
        config, logits = self.config, logits[: len(labels)]
        ce, dice = supervised_loss(logits, labels, background=config.dice_background, squared=config.dice_squared)
        return Step(config.ce_weight * ce + config.dice_weight * dice, {"ce": ce.detach(), "dice_loss": dice.detach()})

    def supervised_all(self, outputs: Sequence[Tensor], labels: Tensor) -> Step:
        """The sum of the supervised losses of several decoders or heads; the logs of all but the first bear their number."""
        step = self.supervised(outputs[0], labels)
        for number, logits in enumerate(outputs[1:], start=1):
            step.join(self.supervised(logits, labels), str(number))
        return step


class SoftmaxPredictor(nn.Module):
    """Mean softmax of one or several networks: the usual `Method.predictor`."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        """Class probabilities ``(B, K, *S)`` of images ``(B, C, *S)``."""
        probabilities = [network(image).float().softmax(1) for network in self.networks]
        return torch.stack(probabilities).mean(0) if len(probabilities) > 1 else probabilities[0]


def pair_predictor(first: nn.Module, second: nn.Module, which: Literal["first", "second", "mean"]) -> SoftmaxPredictor:
    """The predictor of a method with two networks: one of them, or the mean of their softmax maps."""
    return SoftmaxPredictor(*{"first": [first], "second": [second], "mean": [first, second]}[which])


METHODS: Registry[Method] = Registry("method")
register = METHODS.register


def method_config(section: MethodSection) -> MethodConfig:
    """The settings of a config's method section, checked by the method's own ``Config``.

    Raises:
        ConfigError: unknown method, unknown setting (with the nearest valid one) or a value out of range.
    """
    kind = METHODS[section.name].Config
    # Half a ramp takes its other half from the method's default, not from that of all ramps.
    settings = merge(kind().model_dump(mode="json"), section.settings())
    config: MethodConfig = validate(kind, settings, f"method {section.name}")
    return config


def build_method(task: Task, section: MethodSection, network: NetworkConfig) -> Method:
    """The method that a config names, with freshly initialised networks (under torch's global seed).

    Raises:
        ConfigError: see `method_config`; or the method is not defined for the task's dimensions.
    """
    kind = METHODS[section.name]
    if task.spatial_dims not in kind.spatial_dims:
        raise ConfigError(f"method {section.name} is not defined in {task.spatial_dims}D, only in {kind.spatial_dims}")
    return kind(task, method_config(section), network)
