"""CCT: decoders that see disturbed features agree with the one that sees them as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, Step, register
from fewmask.networks.encoder_decoder import EncoderDecoder
from fewmask.networks.perturbations import attention_drop, feature_noise

Perturbation = Literal["noise", "dropout", "attention"]


@register("cct")
class CrossConsistencyTraining(Method):
    """Cross-consistency training (Ouali, Hudelot & Tami, CVPR 2020), in the form of the medical benchmarks.

    One encoder; a main decoder 0 on its features, and ``n`` auxiliary decoders, each on features of all levels that are disturbed in
    its own way:

        L = 1 / (n + 1) sum_{k=0..n} L_sup(z_l^k, y) + lambda(i) 1 / n sum_{k=1..n} mean ||p_u^0 - p_u^k||^2

        noise      x (1 + U(-0.3, 0.3)), one draw per channel and voxel for the whole batch
        dropout    single values with probability 0.3
        attention  voxels where the channel mean reaches U(0.7, 0.9) of its maximum are set to zero

    The paper has thirty auxiliary decoders, some of which cut out places or ask the main decoder where to disturb, trained by the
    consistency alone and with a main prediction that gets no gradient from it: ``supervise: main`` and ``detach_main: true``.
    """

    class Config(MethodConfig):
        """The benchmark's three decoders and weight."""

        consistency: RampConfig = Field(
            RampConfig(weight=0.1), description="lambda(i), the weight of the consistency between decoders"
        )
        perturbations: list[Perturbation] = Field(
            ["noise", "dropout", "attention"], min_length=1, description="one auxiliary decoder each"
        )
        noise: float = Field(0.3, ge=0, lt=1, description="largest relative change by noise")
        dropout: float = Field(0.3, ge=0, lt=1, description="share of single values that dropout sets to zero")
        shared_decoder: bool = Field(False, description="one decoder for all passes, as a benchmark has it")
        supervise: Literal["all", "main"] = Field("all", description="which decoders learn from labels")
        detach_main: bool = Field(False, description="no gradient of the consistency to the main decoder, as the paper")

    config: Config
    family = "multi-decoder"
    year = 2020
    networks = "1 with 4 decoders"
    cost = 5.8
    idea = "decoders on disturbed features agree with one on clean features"

    def build(self) -> None:
        """One encoder with the main decoder and the auxiliary ones."""
        decoders = 1 if self.config.shared_decoder else 1 + len(self.config.perturbations)
        self.network = cast(EncoderDecoder, self.build_network(decoders=decoders))
        self.disturb: dict[Perturbation, Callable[[Tensor], Tensor]] = {
            "noise": partial(feature_noise, bound=self.config.noise),
            "dropout": partial(F.dropout, p=self.config.dropout),
            "attention": attention_drop,
        }

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The mean supervised loss of the decoders plus the ramped consistency."""
        config, count = self.config, len(batch.labels)
        features = self.network.encode(batch.images)
        main = self.network.decode(features).logits[0].float()
        others = [self._decode(features, number, kind) for number, kind in enumerate(config.perturbations, start=1)]
        judged = [main, *others] if config.supervise == "all" else [main]
        step = self.supervised_all(judged, batch.labels)
        step.loss = step.loss / len(judged)
        target = main[count:].softmax(1)
        target = target.detach() if config.detach_main else target
        apart = torch.stack([(target - other[count:].softmax(1)).square().mean() for other in others]).mean()
        return step.add("consistency", apart, config.consistency.at(progress))

    def _decode(self, features: Sequence[Tensor], number: int, kind: Perturbation) -> Tensor:
        """An auxiliary decoder's logits of disturbed features."""
        disturbed = [self.disturb[kind](level) for level in features]
        return self.network.decode(disturbed, 0 if self.config.shared_decoder else number).logits[0].float()
