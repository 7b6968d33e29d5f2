"""MCF: two unlike networks review where they differ, and the worse one learns from the better one."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from fewmask.components.agreement import confident_mask, disagreement_loss
from fewmask.components.competition import learn_from_winner
from fewmask.components.losses import dice_loss, one_hot
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, Step, pair_predictor, register


@register("mcf")
class MutualCorrection(Method):
    """Mutual correction framework (Wang, Xiao, Bi, Li & Gao, CVPR 2023).

    A V-Net (first; in 2D a U-Net) and a ResNet-34 V-Net (second) see the same patches. Where exactly one of them finds a foreground class, each
    is told again what the label says; and on unlabelled patches the one with the larger Dice loss on this batch's labels learns from
    the other's sharpened prediction:

        L = sum_k L_sup(z_l^k, y) + review sum_k sum_v D sum_{c > 0} (p_l^k - y)^2 / sum_v D + lambda(i) mean (p_u^loser - q)^2
        D = 1[argmax z_l^1 != argmax z_l^2],   q = softmax(z_u^winner / T)

    ``L_sup`` is cross-entropy plus Dice of the foreground, both at weight 1. The networks have optimisers of their own in the release; one
    over both is the same arithmetic.
    """

    class Config(MethodConfig):
        """Published values."""

        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy on labelled patches")
        dice_weight: float = Field(1.0, ge=0, description="weight of the Dice loss on labelled patches")
        dice_background: bool = Field(False, description="average the Dice loss over all classes")
        partner: str = Field("resnet34-vnet", description="the second network; the first is network.name")
        review: float = Field(0.5, ge=0, description="weight of the squared error where the networks differ")
        competition: RampConfig = Field(
            RampConfig(weight=0.1), description="lambda(i), the weight of what the loser learns from the winner"
        )
        temperature: float = Field(0.1, gt=0, description="T, sharpens the winner's prediction")
        predict_with: Literal["mean", "first", "second"] = Field("mean", description="which network predicts")

    config: Config
    family = "cross supervision"
    year = 2023
    networks = "2, unlike"
    cost = 6.2
    idea = "two unlike networks: both review where they differ, the worse one learns from the better"

    def build(self) -> None:
        """The pair."""
        self.first, self.second = self.build_network(), self.build_network(self.config.partner)

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """Both supervised losses, both reviews, the ramped competition."""
        first, second = (network(batch.images).float() for network in (self.first, self.second))
        step = self.supervised(first, batch.labels).join(self.supervised(second, batch.labels), "second")
        count, truth = len(batch.labels), one_hot(batch.labels, self.task.num_classes)
        maps = [logits[:count].softmax(1) for logits in (first, second)]
        differ = confident_mask(maps[0], maps[1], confidence=0.0)
        reviews = [disagreement_loss(p, truth, differ) for p in maps]
        step.add("review", reviews[0] + reviews[1], self.config.review)
        first_wins = self._dice(maps[0], truth) < self._dice(maps[1], truth)
        learnt = learn_from_winner(first[count:], second[count:], first_wins, self.config.temperature)
        step.add("competition", learnt, self.config.competition.at(progress))
        step.logs |= {"differ": differ.float().mean(), "first_wins": first_wins.float()}
        return step.watch(torch.where(first_wins, first[count:], second[count:]).argmax(1))

    def predictor(self) -> nn.Module:
        """The mean of both networks' softmax, or one of them, as configured."""
        return pair_predictor(self.first, self.second, self.config.predict_with)

    @torch.no_grad()
    def _dice(self, probabilities: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """By which a network wins."""
        return dice_loss(probabilities, truth, background=self.config.dice_background)
