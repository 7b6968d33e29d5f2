"""Teacher and student that find masks in noise: images teach the teacher, then both teach each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fewmask.components.collapse import CollapseMonitor
from fewmask.components.losses import dice_loss, full_precision, one_hot
from fewmask.components.mask_diffusion import Encoding, MaskDiffusion, MaskPathway, Pathways, RoundsConfig, Start
from fewmask.components.matching import best_order, class_overlap
from fewmask.components.noise_predictor import NoiseSamplesPredictor, PredictionConfig
from fewmask.components.ramps import RampConfig
from fewmask.config import NetworkConfig, Section
from fewmask.data.batch import Batch
from fewmask.diffusion import NoiseSchedule, ScheduleConfig
from fewmask.methods.base import Method, MethodConfig, Phase, Progress, Step, Turn, register
from fewmask.task import Task

LAMBDA = RampConfig(weight=5.0, shape="epochs", steps=200)
TERMS = ("semi", "align", "reconstruction")
MATCHING_DRAWS = 8


class PretrainConfig(Section):
    """The unsupervised phase."""

    iterations: int | None = Field(None, ge=0, description="its length; none: train.iterations; 0: no pre-training")
    optimiser: Literal["sgd", "adam", "adamw"] | None = Field("adam", description="none: train.optimiser")
    lr: float | None = Field(1e-3, gt=0, description="none: train.lr")


@register("diffusion-co-training")
class DiffusionCoTraining(Method):
    """Diffusion teacher-student co-training (Ciampi, Lagani, Amato & Falchi, Computers in Biology and Medicine 2026).

    Networks ``f_m(image, noisy mask, t)``, which finds the clean mask, and ``f_i(noisy image, mask, t)``, which finds the noise. ``q(x, t)``
    is forward noising; each use has its own noise and step, drawn uniformly.

    Pre-training, images alone. The only way to see through the noise is a mask that says what is in the image:

        m = T_f_m(i, q(0, t), t),   L = |nu - T_f_i(q(i, t'), enc(m), t')|^2

    Co-training, with ``CE`` the mask loss, ``am`` the argmax, ``y`` the label or, where there is none, ``am(m_S)``:

        L     = L_sup + lambda (L_semi + mean_r L_align,r + mean_r L_rec,r)      on the labelled and on the unlabelled half
        L_sup = CE(m_T, y) + CE(m_S, y)                                          labelled half alone
        L_semi = CE(m_S, am(m_T)) + CE(m_T, am(m_S))
        round r = 1..R, from m_0 = m_T: i_r = the image that T_f_i sees behind q(i, t'_r), given enc(m_{r-1});
                  m_r = T_f_m(i_r, q(0, t''_r), t''_r);   L_align,r = CE(m_r, y);   L_rec,r = |nu_r - T_f_i(...)|^2

    ``lambda`` grows linearly, epoch by epoch, to 5. The card says where paper, released code and this differ.
    """

    class Config(MethodConfig):
        """Published values, but for the choices that the card explains."""

        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy in every mask loss")
        dice_weight: float = Field(1.0, ge=0, description="weight of the Dice loss in every mask loss")
        diffusion: ScheduleConfig = Field(ScheduleConfig(), description="the noise")
        start: Start = Field("zero", description="the mask to which noise is added where none is known")
        mask_to_image: Encoding = Field("softmax", description="how a mask enters the image pathway")
        image_input: Literal["noised", "pure"] = Field("noised", description="of the image pathway in pre-training")
        reconstruction_space: Literal["noise", "image"] = Field("noise", description="what is compared with the truth")
        t_max: int | None = Field(None, ge=1, description="largest step of a reconstruction; none: T")
        share_draws: bool = Field(False, description="teacher and student start from the same noise and step")
        semi: RampConfig = Field(LAMBDA, description="lambda of L_semi")
        align: RampConfig = Field(LAMBDA, description="lambda of L_align")
        reconstruction: RampConfig = Field(LAMBDA, description="lambda of L_rec")
        semi_on_labelled: bool = Field(True, description="L_semi on the labelled half too")
        rounds: RoundsConfig = Field(RoundsConfig(), description="R and how rounds hang together")
        pretrain: PretrainConfig = Field(PretrainConfig(), description="the unsupervised phase")
        pretrained: str | None = Field(
            None,
            description="run folder or safetensors file with a pre-trained teacher, instead of the unsupervised phase",
        )
        match_channels: bool = Field(
            True, description="labelled patches say which channel of the pre-trained masks is what"
        )
        predict: PredictionConfig = Field(PredictionConfig(), description="how a scan is segmented from noise")
        as_released: bool = Field(False, description="what the released code trains; see the card")

        @model_validator(mode="after")
        def _goes_together(self) -> Self:
            steps, t = self.diffusion.steps, self.predict.t
            if self.image_input == "pure" and self.reconstruction_space == "noise":
                raise ValueError(
                    "image_input: pure needs reconstruction_space: image, or input and target are the same noise"
                )
            if self.t_max is not None and self.t_max > steps:
                raise ValueError(f"t_max {self.t_max} is more than diffusion.steps {steps}")
            if (isinstance(t, int) and not 1 <= t <= steps) or self.predict.steps > steps:
                raise ValueError(f"predict.t and predict.steps lie between 1 and diffusion.steps {steps}")
            return self

    config: Config
    matched: Tensor
    family = "diffusion"
    year = 2026
    networks = "1 + teacher, diffusion"
    cost = 24.1
    idea = "masks found in noise: a teacher pre-trained on images alone, then teacher and student teach each other"

    def __init__(self, task: Task, config: Config, network: NetworkConfig) -> None:
        super().__init__(task, config, network)
        if config.as_released:
            self.config = released(config)
        channels, classes = task.in_channels, task.num_classes
        both: dict[str, Any] = {"in_channels": channels + classes, "time": True}
        mask, image = (self.build_network(out_channels=count, **both) for count in (classes, channels))
        self.teacher = Pathways(MaskPathway(mask, classes), image)
        self.student = MaskPathway(self.build_network(out_channels=classes, **both), classes)
        self.diffusion = MaskDiffusion(
            NoiseSchedule(self.config.diffusion.betas()),
            classes,
            start=self.config.start,
            encoding=self.config.mask_to_image,
            space=self.config.reconstruction_space,
            t_max=self.config.t_max,
        )
        self.monitor = CollapseMonitor(networks=2)
        self.register_buffer("matched", torch.tensor(False))

    def phases(self) -> list[Phase]:
        """Pre-training, unless its weights are given or it is switched off, and co-training."""
        skipped = self.config.pretrained is not None or self.config.pretrain.iterations == 0
        return [*([] if skipped else [self._pretraining()]), Phase("co-train")]

    def _pretraining(self) -> Phase:
        noise = {f"diffusion.{key}": value for key, value in self.config.diffusion.model_dump().items()}
        settings = noise | {"start": self.config.start, "mask_to_image": self.config.mask_to_image}
        return Phase(
            "pretrain",
            self.config.pretrain.iterations,
            labelled=False,
            all_images=True,
            validated=False,
            keeps="teacher",
            settings={key: str(value) for key, value in settings.items()},
        )

    def starts_from(self) -> tuple[str, Phase] | None:
        """The pre-trained teacher, where one is given."""
        return None if self.config.pretrained is None else (self.config.pretrained, self._pretraining())

    def turns(self, phase: str) -> list[Turn]:
        """One optimiser: for the teacher alone, or for both. Without rounds the image pathway learns nothing and is left out."""
        if phase == "pretrain":
            own = {"optimiser": self.config.pretrain.optimiser, "lr": self.config.pretrain.lr}
            return [Turn("main", [*self.teacher.parameters()], {k: v for k, v in own.items() if v is not None})]
        teacher: nn.Module = self.teacher if self.config.rounds.count else self.teacher.mask
        return [Turn("main", [*teacher.parameters(), *self.student.parameters()])]

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The reconstruction loss of pre-training, or all terms of co-training; each is logged without its weight."""
        if progress.phase == "pretrain":
            loss = self.diffusion.cycle(self.teacher, batch.unlabelled, pure=self.config.image_input == "pure")
            return Step(loss, {"reconstruction": loss.detach()})
        if progress.iteration == 0:
            self._match(batch)
        ramps = {term: getattr(self.config, term) for term in TERMS}
        weights = {term: ramp.at(progress) for term, ramp in ramps.items() if ramp.weight}
        half = self._half(batch.labelled, batch.labels, weights)
        step = Step(half.loss, half.logs)
        if weights:
            other = self._half(batch.unlabelled, None, weights)
            step.loss = step.loss + other.loss
            step.logs |= {f"{name}_unlabelled": value for name, value in other.logs.items()}
            step.logs |= {f"{term}_weight": weight for term, weight in weights.items()}
            step.watch(other.teacher).logs["agreement"] = (other.teacher == other.student).float().mean()
            step.logs["starved"] = self.monitor.update(batch.labels, other.teacher, other.student).float()
        return step

    def after_step(self, progress: Progress) -> None:
        """Warns of a network that has stopped to predict foreground."""
        if progress.phase != "pretrain":
            self.monitor.warn(progress.iteration + 1)

    def predictor(self) -> nn.Module:
        """Student, teacher or both, from noise."""
        chosen = {"student": [self.student], "teacher": [self.teacher.mask], "mean": [self.student, self.teacher.mask]}
        settings = self.config.predict
        start: Start = "minus_one" if self.config.as_released else self.config.start
        return NoiseSamplesPredictor(chosen[settings.network], self.diffusion.schedule, settings, start)

    def mask_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """``CE`` of the class's text: ``ce_weight`` cross-entropy + ``dice_weight`` Dice loss per sample and class."""
        return self.supervised(logits, labels).loss

    def supervised(self, logits: Tensor, labels: Tensor) -> Step:
        """See `mask_loss`; logged as ``ce`` and ``dice_loss``."""
        logits = full_precision(logits) * (0.5 if self.config.as_released else 1.0)
        truth, background = one_hot(labels, logits.shape[1]), self.config.dice_background
        ce = F.cross_entropy(logits, labels)
        dice = dice_loss(logits.softmax(1), truth, background=background, smooth=1.0, per_sample=True)
        total = self.config.ce_weight * ce + self.config.dice_weight * dice
        return Step(total, {"ce": ce.detach(), "dice_loss": dice.detach()})

    def _half(self, image: Tensor, labels: Tensor | None, weights: Mapping[str, float]) -> _Half:
        """All terms of the labelled half, or without labels of the other one."""
        teacher, student = self._first_masks(image, labelled=labels is not None)
        found = teacher.detach().argmax(1), student.detach().argmax(1)
        loss, logs = image.new_zeros(()), {}
        if labels is not None:
            step, other = self.supervised(teacher, labels), self.supervised(student, labels)
            loss, logs = step.loss + other.loss, step.logs
            logs |= {f"{name}_student": value for name, value in other.logs.items()}
        if "semi" in weights and (labels is None or self.config.semi_on_labelled):
            semi = self.mask_loss(student, found[0]) + self.mask_loss(teacher, found[1])
            loss, logs["semi"] = loss + weights["semi"] * semi, semi.detach()
        if self.config.rounds.count and ("align" in weights or "reconstruction" in weights):
            target = found[1] if labels is None else labels
            for term, value in self._rounds(image, teacher, target).items():
                weight = 1.0 if self.config.as_released and labels is not None else weights.get(term, 0.0)
                loss, logs[term] = loss + weight * value, value.detach()
        return _Half(loss, logs, *found)

    def _rounds(self, image: Tensor, first: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``L_align`` and ``L_rec``, means over the rounds."""
        settings, mask = self.config.rounds, first
        losses = []
        for _ in range(settings.count):
            if settings.recompute:
                mask, *both = checkpoint(self._round, image, mask, target, use_reentrant=False)
            else:
                mask, *both = self._round(image, mask, target)
            losses.append(torch.stack(both))
            mask = mask if settings.chained else first
        align, reconstruction = torch.stack(losses).mean(0)
        return {"align": align, "reconstruction": reconstruction}

    def _round(self, image: Tensor, mask: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mask that a round finds, its ``L_align`` and its ``L_rec``."""
        found, loss = self.diffusion.round(self.teacher, image, mask, self.config.rounds)
        return found, self.mask_loss(found, target), loss

    def _first_masks(self, image: Tensor, *, labelled: bool) -> tuple[Tensor, Tensor]:
        """What teacher and student find without any round."""
        draw = self.diffusion.draw(image)
        teacher = self.diffusion.mask(self.teacher.mask, image, draw)
        start: Start | None = "minus_one" if self.config.as_released and labelled else None
        other = draw if self.config.share_draws else None
        return teacher, self.diffusion.mask(self.student, image, other, start)

    @torch.no_grad()
    def _match(self, batch: Batch) -> None:
        """Once, before co-training: the pre-trained teacher's channels get the classes that labelled patches show there."""
        untrained = self.config.pretrained is None and self.config.pretrain.iterations == 0
        if untrained or not self.config.match_channels or bool(self.matched):
            return
        self.teacher.eval()
        overlap = torch.zeros((), device=batch.labels.device)
        for _ in range(MATCHING_DRAWS):
            logits = self.diffusion.mask(self.teacher.mask, batch.labelled)
            overlap = overlap + class_overlap(logits.float().softmax(1), batch.labels)
        self.teacher.train(self.training)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(overlap)  # all processes must come to the same order
        order = self.teacher.mask.order
        order.copy_(order[best_order(overlap).to(order.device)])
        self.matched.fill_(True)


def released(config: DiffusionCoTraining.Config) -> DiffusionCoTraining.Config:
    """The settings of the released code, as far as they are settings."""
    ramp = RampConfig(weight=1.0, shape="epochs", steps=200)
    rounds = {"chained": False, "detach": True, "clip": False, "track": True, "recompute": False}
    return config.model_copy(
        update={
            "ce_weight": 0.0,
            "dice_weight": 1.0,
            "diffusion": config.diffusion.model_copy(update={"schedule": "sigmoid"}),
            "start": "background",
            "mask_to_image": "raw",
            "semi": ramp,
            "align": ramp,
            "reconstruction": ramp,
            "semi_on_labelled": False,
            "rounds": config.rounds.model_copy(update=rounds),
            "match_channels": False,
        }
    )


class _Half(NamedTuple):
    """Loss and logs of one half of the batch, and the classes that teacher and student find in it."""

    loss: Tensor
    logs: dict[str, Tensor | float]
    teacher: Tensor
    student: Tensor
