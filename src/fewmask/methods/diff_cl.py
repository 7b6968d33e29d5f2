"""Diff-CL: a network that denoises labels and one that convolves teach each other, with contrast between their features."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fewmask.components.collapse import CollapseMonitor
from fewmask.components.label_propagation import LabelPropagation, PropagationConfig
from fewmask.components.memory_bank import BankConfig
from fewmask.components.ramps import RampConfig
from fewmask.data.batch import Batch
from fewmask.diffusion import DiffusionPredictor, LabelDiffusion, LabelDiffusionConfig, ddim, evenly_spaced
from fewmask.methods.base import Method, MethodConfig, Progress, SoftmaxPredictor, Step, register
from fewmask.networks.base import NetworkOutput
from fewmask.networks.high_frequency_mamba import HFMConfig

EPOCHS = RampConfig(weight=1.0, steps=300)


@register("diff-cl")
class DiffCL(Method):
    """Diff-CL (Guo, Yu, Shi, Lei & Wang, arXiv 2503.09408, 2025): diffusion and convolution in cross pseudo-supervision.

    The diffusion network DS denoises a one-hot label volume, scaled to [-1, 1], given the image ``x``; the convolution network CS is a
    V-Net with a high-frequency Mamba module (HFM) behind its fourth stage. Both see labelled patches ``l`` and unlabelled ones ``u``:

        Y_t = sqrt(a_t) Y_0 + sqrt(1 - a_t) e,   Y_0 of y_l and of the labels Y_c = argmax z_c(x_u),   t uniform    (1, 5)
        z_d = DS([x, Y_t], t),   Y_d = argmax z_d of x_u                                                              (3)
        L_d = L(z_d_l, y) + mu1(i) L(z_d_u, Y_c)                                                                (6, 16, 18)
        L_c = L(z_c_l, y) + mu2(i) [L(z_c_u, Y_d) + eta L_cl]                                                   (7, 17, 19)
        L_cl  the contrast between a memory of DS features of labelled voxels that DS predicts right, and CS features of
              unlabelled voxels, both through one projection head; see `LabelPropagation`                             (11-15)

    ``L`` is cross-entropy plus Dice, no label carries a gradient, and so DS learns by ``L_d`` and CS and the head by ``L_c`` though one
    backward goes through their sum. No released code is known; what the paper leaves open is on the card.

    Ablation: ``cross_ds.weight=0 cross_cs.weight=0`` (supervised), ``contrast.weight=0``, ``hfm.stages=[]``.
    """

    class Config(MethodConfig):
        """Published values for the left atrium with 4 labelled scans; half of the pancreas and BraTS recipes differ."""

        ce_weight: float = Field(
            1.0, ge=0, description="alpha, weight of the cross-entropy, against labels and pseudo-labels"
        )
        dice_weight: float = Field(1.0, ge=0, description="beta, weight of the Dice loss")
        dice_squared: bool = Field(False, description="squares in the Dice loss's denominator; false: plain sums")
        cross_ds: RampConfig = Field(EPOCHS, description="mu1, weight of what DS learns from the labels of CS")
        cross_cs: RampConfig = Field(
            EPOCHS, description="mu2, weight of what CS learns from those of DS, and of the contrast"
        )
        contrast: RampConfig = Field(
            RampConfig(weight=0.7, shape="constant"), description="eta, weight of the contrast, times mu2"
        )
        include_labelled: bool = Field(False, description="pseudo-label losses on labelled patches too")
        pseudo_from: Literal["pass", "ddim"] = Field(
            "pass",
            description="labels of DS: from the pass that trains it, at a random step, or denoised from pure noise",
        )
        features: Literal["before_dropout", "last"] = Field(
            "before_dropout", description="which features are contrasted"
        )
        diffusion: LabelDiffusionConfig = Field(LabelDiffusionConfig(), description="noise on label volumes")
        hfm: HFMConfig = Field(HFMConfig(), description="the high-frequency Mamba modules of CS")
        propagation: PropagationConfig = Field(PropagationConfig(), description="numbers of the contrast")
        bank: BankConfig = Field(BankConfig(), description="the memory of labelled features")
        predict_with: Literal["cs", "ds", "mean"] = Field("cs", description="which network predicts; ds by DDIM")
        ddim_steps: int = Field(10, ge=1, description="steps of DDIM, evenly spread with both ends")
        noise_seed: int = Field(0, ge=0, description="of the noise from which DS predicts")

    config: Config
    family = "cross supervision"
    year = 2025
    networks = "2, one diffusion"
    cost = 5.8
    idea = "a diffusion and a convolution network exchange labels, memory contrast, high-frequency Mamba"

    def build(self) -> None:
        """Both networks, the diffusion, the contrast with its memory where it counts."""
        task, config, network = self.task, self.config, self.network_config
        kind, classes = network.name or "vnet", task.num_classes
        self.cs = self.build_network(kind, hfm=config.hfm)
        self.ds = self.build_network(kind, in_channels=task.in_channels + classes, time=True)
        self.diffusion = LabelDiffusion(config.diffusion)
        self.chosen = evenly_spaced(self.diffusion.steps, config.ddim_steps)
        self.propagation: LabelPropagation | None = None
        if config.contrast.weight:
            self.propagation = LabelPropagation(network.width, classes, config.propagation, config.bank)
        self.monitor = CollapseMonitor(networks=2)

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """Both networks' losses; each term is logged without its weight."""
        config, count = self.config, len(batch.labels)
        cs = self.cs.forward_all(batch.images)
        z_c = cs.logits[0].float()
        labels_c = z_c.detach().argmax(1)
        t = self.diffusion.draw_for(count, len(batch.unlabelled))
        ds = self._denoise(batch.images, torch.cat([batch.labels, labels_c[count:]]), t.to(z_c.device))
        z_d = ds.logits[0].float()
        labels_d = z_d.detach().argmax(1) if config.pseudo_from == "pass" else self._from_noise(batch.images)
        step = self.supervised(z_c, batch.labels).join(self.supervised(z_d, batch.labels), "ds")
        step.logs["t"] = t.float().mean()
        start = 0 if config.include_labelled else count
        cross_ds = self.supervised(z_d[start:], labels_c[start:]).loss
        cross_cs = self.supervised(z_c[start:], labels_d[start:]).loss
        mu1, mu2 = config.cross_ds.at(progress), config.cross_cs.at(progress)
        step.logs |= {"cross_ds": cross_ds.detach(), "cross_cs": cross_cs.detach(), "mu1": mu1, "mu2": mu2}
        step.loss = step.loss + mu1 * cross_ds + mu2 * cross_cs
        if self.propagation is not None:
            self._remember(self.propagation, ds, batch)
            if progress.iteration >= config.propagation.start * progress.iterations:
                contrast, purity = self.propagation(cs.taps[config.features][count:], labels_c[count:])
                step.loss = step.loss + mu2 * config.contrast.at(progress) * contrast
                step.logs |= {"contrast": contrast.detach(), **purity}
        self._watch(step, batch, labels_c[count:], labels_d[count:], t[count:])
        return step

    def predictor(self) -> nn.Module:
        """CS in one pass, DS by DDIM from seeded noise, or the mean of both, as configured."""
        config = self.config
        if config.predict_with == "cs":
            return SoftmaxPredictor(self.cs)
        return DiffusionPredictor(
            self.ds,
            self.diffusion,
            (self.task.num_classes, *self.task.patch_size),
            steps=config.ddim_steps,
            seed=config.noise_seed,
            beside=self.cs if config.predict_with == "mean" else None,
        )

    def _denoise(self, images: Tensor, labels: Tensor, t: Tensor) -> NetworkOutput:
        """DS on images beside noised labels (Eq. 3, 5)."""
        noisy = self.diffusion.noised(labels, self.task.num_classes, t)
        return self.ds.forward_all(torch.cat([images, noisy.to(images.dtype)], 1), t)

    @torch.no_grad()
    def _from_noise(self, images: Tensor) -> Tensor:
        """The labels that DS finds without being shown any."""
        noise = torch.randn(len(images), self.task.num_classes, *images.shape[2:], device=images.device)
        logits = ddim(
            lambda noisy, t: self.ds(torch.cat([images, noisy.to(images.dtype)], 1), t),
            noise,
            self.diffusion,
            self.chosen,
            to_clean=self.diffusion.clean,
        )
        return logits.argmax(1)

    def _remember(self, propagation: LabelPropagation, ds: NetworkOutput, batch: Batch) -> None:
        """Labelled DS features go into the bank."""
        count = len(batch.labels)
        features, logits = ds.taps[self.config.features][:count], ds.logits[0][:count]
        propagation.remember(features, logits.detach().float().softmax(1), batch.labels, batch.cases)

    def _watch(self, step: Step, batch: Batch, labels_c: Tensor, labels_d: Tensor, t: Tensor) -> None:
        """Logs how far the networks agree on unlabelled patches, also where noise hid the other's labels, and what they find."""
        agreed = (labels_c == labels_d).float().flatten(1).mean(1)
        step.logs |= {"agreement": agreed.mean(), "foreground_cs": (labels_c > 0).float().mean()}
        step.logs["foreground_ds"] = (labels_d > 0).float().mean()
        late = (t >= self.diffusion.steps // 2).nonzero().flatten()
        if len(late):
            step.logs["agreement_late"] = agreed[late.to(agreed.device)].mean()
        step.logs["starved"] = self.monitor.update(batch.labels, labels_c, labels_d).float()
