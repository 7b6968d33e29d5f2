"""CCT: decoders that see disturbed features agree with the one that sees them as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fewmask.components.batch_statistics import in_eval_mode
from fewmask.components.ramps import RampConfig
from fewmask.components.virtual_adversarial import adversarial_features
from fewmask.data.batch import Batch
from fewmask.methods.base import Method, MethodConfig, Progress, Step, register
from fewmask.networks.encoder_decoder import EncoderDecoder
from fewmask.networks.perturbations import attention_drop, feature_noise, keep_where, outside_cutouts

Perturbation = Literal[
    "noise", "dropout", "channel-dropout", "attention", "objects", "context", "cutout", "adversarial"
]


@register("cct")
class CrossConsistencyTraining(Method):
    """Cross-consistency training (Ouali, Hudelot & Tami, CVPR 2020), in the form of the medical benchmarks.

    One encoder; a main decoder 0 on its features, and ``n`` auxiliary decoders, each on features of all levels that are disturbed in
    its own way:

        L = 1 / (n + 1) sum_{k=0..n} L_sup(z_l^k, y) + lambda(i) 1 / n sum_{k=1..n} mean ||p_u^0 - p_u^k||^2

        noise            x (1 + U(-0.3, 0.3)), one draw per channel and voxel for the whole batch
        dropout          single values, channel-dropout whole channels, with probability 0.3
        attention        voxels where the channel mean reaches U(0.7, 0.9) of its maximum are set to zero
        objects          what the main decoder takes for foreground is set to zero; context: what it takes for background
        cutout           in the bounding box of each object that it sees, a box of 0.4 of each side is set to zero
        adversarial      moved by the length epsilon along the direction that changes the auxiliary decoder most (VAT)

    The medical benchmarks have the first of each of the first three. The paper has thirty auxiliary decoders of all these kinds on the last
    feature map (``disturb: deepest``), trained by the consistency alone and with a main prediction that gets no gradient from it
    (``supervise: main``, ``detach_main: true``).
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
        dropout: float = Field(
            0.3, ge=0, lt=1, description="share of single values, or channels, set to zero by dropout"
        )
        cutout: float = Field(0.4, gt=0, le=1, description="side of a cut-out as a share of its object's bounding box")
        probe: float = Field(0.1, gt=0, description="length of the random step that finds the adversarial direction")
        radius: float = Field(
            2.0, gt=0, description="epsilon, length of the adversarial change of each level's features"
        )
        disturb: Literal["all", "deepest"] = Field("all", description="which levels of features are disturbed")
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
        self.of_level: dict[Perturbation, Callable[[Tensor], Tensor]] = {
            "noise": partial(feature_noise, bound=self.config.noise),
            "dropout": partial(F.dropout, p=self.config.dropout),
            "channel-dropout": partial(torch.feature_dropout, p=self.config.dropout, train=True),
            "attention": attention_drop,
        }

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The mean supervised loss of the decoders plus the ramped consistency."""
        config, count = self.config, len(batch.labels)
        features = self.network.encode(batch.images)
        main = self.network.decode(features).logits[0].float()
        seen = main.detach().argmax(1) > 0
        others = [
            self._decode(self._disturbed(kind, features, seen, number), number)
            for number, kind in enumerate(config.perturbations, start=1)
        ]
        judged = [main, *others] if config.supervise == "all" else [main]
        step = self.supervised_all(judged, batch.labels)
        step.loss = step.loss / len(judged)
        target = main[count:].softmax(1)
        target = target.detach() if config.detach_main else target
        apart = torch.stack([(target - other[count:].softmax(1)).square().mean() for other in others]).mean()
        return step.add("consistency", apart, config.consistency.at(progress)).watch(main[count:].argmax(1))

    def _decode(self, features: Sequence[Tensor], number: int) -> Tensor:
        """The logits of an auxiliary decoder, counted from 1."""
        return self.network.decode(features, 0 if self.config.shared_decoder else number).logits[0].float()

    def _disturbed(self, kind: Perturbation, features: Sequence[Tensor], seen: Tensor, number: int) -> list[Tensor]:
        """The features that an auxiliary decoder gets, where the main one saw foreground ``(B, *S)`` or not."""
        whole = 0 if self.config.disturb == "all" else len(features) - 1
        kept, levels = list(features[:whole]), features[whole:]
        if kind == "adversarial":
            return kept + self._adversarial(kept, levels, number)
        change = self.of_level.get(kind) or partial(keep_where, keep=self._keep(kind, seen))
        return [*kept, *(change(level) for level in levels)]

    def _keep(self, kind: Perturbation, seen: Tensor) -> Tensor:
        """Where features stay, ``(B, *S)``, if the main decoder's prediction says where to disturb."""
        if kind == "cutout":
            return outside_cutouts(seen, self.config.cutout)
        return seen if kind == "context" else ~seen

    def _adversarial(self, kept: list[Tensor], levels: Sequence[Tensor], number: int) -> list[Tensor]:
        """Levels moved where the auxiliary decoder, without dropout, changes most."""
        still, config = [level.detach() for level in kept], self.config
        with in_eval_mode(self.network):
            return adversarial_features(
                lambda moved: self._decode([*still, *moved], number), levels, probe=config.probe, radius=config.radius
            )
