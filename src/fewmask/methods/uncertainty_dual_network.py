"""Two unlike networks that teach each other, each where it is sure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.components.agreement import confident_mask, cosine_loss, disagreement_loss, rectified_loss
from fewmask.components.collapse import CollapseMonitor
from fewmask.components.losses import one_hot
from fewmask.components.prototypes import prototype_contrast, reliable_voxels
from fewmask.components.pseudo_labels import (
    confident_labels,
    entropy_filtered_loss,
    pseudo_label_loss,
    uncertain_voxels,
)
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, Step, pair_predictor, register

Logs = dict[str, Tensor | float]
ALWAYS = RampConfig(weight=1.0, shape="constant")
RELEASED: dict[str, Any] = {
    "cps": RampConfig(weight=0.0),
    "percentile": 20.0,
    "cr_target": "label",
    "ue_target": "hard",
    "ue_direction": "first_from_second",
}


@register("uncertainty-dual-network")
class UncertaintyDualNetwork(Method):
    """Uncertainty-guided dual network (Lu, Wu, Chaddad, Daqqaq & Kateb, Knowledge-Based Systems 2025).

    A ResNet-34 V-Net (first) and a V-Net (second) see the same patches. With logits ``z``, softmax ``p``, labelled half ``l`` and
    unlabelled half ``u``:

        L = sum_n L_sup(z_l^n, y) + cr_weight L_CR + L_CPS + L_EFS + L_UE + lambda_c(i) L_con
        L_CR   mean squared difference of p_l^1 and p_l^2 where exactly one network is sure of foreground (p >= tau)
        L_CPS  cross-entropy of z_u^n against the other's foreground above tau
        L_EFS  cross-entropy of z_u^n against the union of both argmax maps, where not both entropies exceed their percentile
        L_UE   the first network learns from the second's sharpened softmax on the whole batch, weighted by exp(-KL)
        L_con  uncertain voxels of u are drawn to their class's prototype of the voxels on which both networks agree and are certain

    ``L_sup`` is cross-entropy plus Dice of the foreground, both at weight 1. ``as_released`` is what the released code trains: its
    unlabelled cross-entropy and its contrast pass no gradient (here they are only logged), there is no CPS, L_CR compares each network
    with the label, the target of L_UE is an argmax, and a cosine loss over the whole batch is added.
    """

    class Config(MethodConfig):
        """Published values for the left atrium."""

        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy on labelled patches")
        dice_weight: float = Field(1.0, ge=0, description="weight of the Dice loss on labelled patches")
        dice_background: bool = Field(False, description="average the Dice loss over all classes")
        partner: str = Field(
            "resnet34-vnet", description="the first network; the second is network.name, by default vnet"
        )
        confidence: float = Field(0.6, gt=0, le=1, description="tau of L_CR and L_CPS")
        percentile: float = Field(70, ge=0, le=100, description="alpha, the entropy percentile of L_EFS and L_con")
        cr_weight: float = Field(0.5, ge=0, description="lambda, the weight of L_CR")
        cr_mask: Literal["xor", "or"] = Field("xor", description="exactly one network sure, or at least one")
        cr_target: Literal["cross", "label"] = Field("cross", description="compare with the other network or the label")
        cr_distance: Literal["mse", "kl"] = Field("mse", description="of two softmax vectors")
        cps: RampConfig = Field(ALWAYS, description="weight of L_CPS")
        cps_below: Literal["background", "ignore"] = Field("background", description="what doubtful foreground becomes")
        efs: RampConfig = Field(ALWAYS, description="weight of L_EFS")
        efs_rule: Literal["both", "any"] = Field("both", description="ignored: both networks uncertain, or any")
        efs_target: Literal["union", "cross", "agree"] = Field("union", description="whose labels L_EFS takes")
        ue: RampConfig = Field(ALWAYS, description="weight of L_UE")
        temperature: float = Field(0.5, gt=0, description="T, sharpens the target of L_UE")
        ue_target: Literal["soft", "hard"] = Field("soft", description="sharpened softmax, or argmax")
        ue_direction: Literal["first_from_second", "second_from_first", "symmetric"] = Field(
            "first_from_second", description="who learns by L_UE; symmetric: the mean of both"
        )
        contrast: RampConfig = Field(RampConfig(weight=0.1, steps=None), description="lambda_c, the weight of L_con")
        prototypes: Literal[1, 0, -1] = Field(1, description="1: drawn together, as published; -1: pushed apart")
        features: Literal["last", "before_dropout"] = Field("last", description="which features make prototypes")
        predict_with: Literal["mean", "first", "second"] = Field("mean", description="which network predicts")
        as_released: bool = Field(False, description="what the released code trains; see the card")

    config: Config
    family = "cross supervision"
    year = 2025
    networks = "2, unlike"
    released = RELEASED
    cost = 6.4
    idea = "two unlike networks, pseudo-labels filtered by confidence, entropy and KL, prototype contrast"

    def build(self) -> None:
        """The pair, and the watch on both."""
        self.first = self.build_network(self.config.partner)
        self.second = self.build_network(self.network_config.name or "vnet")
        self.monitor = CollapseMonitor(networks=2)

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """All terms; each is logged without its weight."""
        outputs = [network.forward_all(batch.images) for network in (self.first, self.second)]
        first, second = (output.logits[0].float() for output in outputs)
        count = len(batch.labels)
        step = self.supervised(first, batch.labels).join(self.supervised(second, batch.labels), "second")
        unlabelled, logs = (first[count:], second[count:]), step.logs
        features = [output.taps[self.config.features][count:] for output in outputs]
        if self.config.cr_weight:
            cr = self._regularisation(logs, first[:count], second[:count], batch.labels)
            step.loss = step.loss + self.config.cr_weight * cr
        self._add(step, progress, "ue", lambda: self._rectified(first, second))
        self._add(step, progress, "cps", lambda: self._cross(*unlabelled))
        self._add(step, progress, "efs", lambda: self._filtered(logs, *unlabelled))
        self._add(step, progress, "contrast", lambda: self._contrast(logs, *unlabelled, features))
        if self.config.as_released:
            step.loss = step.loss + cosine_loss(first.softmax(1), second.softmax(1))
        predicted = [logits.argmax(1) for logits in unlabelled]
        logs["agreement"] = (predicted[0] == predicted[1]).float().mean()
        logs["starved"] = self.monitor.update(batch.labels, *predicted).float()
        return step.watch(predicted[0])

    def predictor(self) -> nn.Module:
        """The mean of both networks' softmax, or one of them, as configured."""
        return pair_predictor(self.first, self.second, self.config.predict_with)

    def _add(self, step: Step, progress: Progress, name: str, compute: Callable[[], Tensor]) -> None:
        """A term times its ramp, where that is not switched off; the release logs two of its terms without learning from them."""
        ramp: RampConfig = getattr(self.config, name)
        if not ramp.weight:
            return
        trains = not (self.config.as_released and name in ("efs", "contrast"))
        with torch.set_grad_enabled(trains and torch.is_grad_enabled()):
            value = compute()
        if trains:
            step.add(name, value, ramp.at(progress))
        else:
            step.logs |= {name: value, f"{name}_weight": ramp.at(progress)}

    def _regularisation(self, logs: Logs, first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
        """L_CR (Eq. 4-6), on the labelled half."""
        config, mine, theirs = self.config, first.softmax(1), second.softmax(1)
        mask = confident_mask(mine, theirs, config.confidence, config.cr_mask)
        if config.cr_target == "cross":
            loss = disagreement_loss(mine, theirs, mask, config.cr_distance)
        else:
            truth = one_hot(labels, self.task.num_classes)
            each = [disagreement_loss(one, truth, mask, config.cr_distance) for one in (mine, theirs)]
            loss = each[0] + each[1]
        logs |= {"cr": loss.detach(), "cr_share": mask.float().mean()}
        return loss

    def _cross(self, first: Tensor, second: Tensor) -> Tensor:
        """L_CPS (Eq. 7-8)."""
        doubtful = self.config.cps_below == "ignore"
        labels = [
            confident_labels(one.softmax(1), self.config.confidence, ignore_doubtful=doubtful)
            for one in (first, second)
        ]
        return pseudo_label_loss(first, second, *labels)

    def _filtered(self, logs: Logs, first: Tensor, second: Tensor) -> Tensor:
        """L_EFS (Eq. 9-11)."""
        config = self.config
        uncertain, mine, theirs = uncertain_voxels(first, second, config.percentile, config.efs_rule)
        logs |= {"ignored": uncertain.float().mean(), "entropy_first": mine, "entropy_second": theirs}
        return entropy_filtered_loss(first, second, uncertain, config.efs_target)

    def _rectified(self, first: Tensor, second: Tensor) -> Tensor:
        """L_UE (Eq. 13-15), on the whole batch."""
        hard, temperature = self.config.ue_target == "hard", self.config.temperature
        pairs = {"first_from_second": [(first, second)], "second_from_first": [(second, first)]}
        chosen = pairs.get(self.config.ue_direction, [(first, second), (second, first)])
        return torch.stack([rectified_loss(*pair, temperature, hard=hard) for pair in chosen]).mean()

    def _contrast(self, logs: Logs, first: Tensor, second: Tensor, features: list[Tensor]) -> Tensor:
        """L_con (Eq. 16-20), mean over both networks."""
        reliable = reliable_voxels(first, second, self.config.percentile)
        logs["reliable"] = reliable.float().mean()
        losses = [
            prototype_contrast(maps, logits.argmax(1), reliable, self.task.num_classes, between=self.config.prototypes)
            for maps, logits in zip(features, (first, second), strict=True)
        ]
        return torch.stack(losses).mean()
