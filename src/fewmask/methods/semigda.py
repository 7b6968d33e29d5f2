"""Masks as images in the latent space of a frozen autoencoder, found by two branches that agree."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewmask.components.autoencoding import reconstruct, round_trip, warn_if_lossy
from fewmask.components.box_mix import exchange, random_box
from fewmask.components.latent_branches import BRANCHES, BranchName, BranchPredictor, LatentBranches, MaskLatent
from fewmask.components.losses import dice_loss, one_hot
from fewmask.components.mask_codes import MaskCode, confident_part
from fewmask.components.random_masks import random_masks
from fewmask.config import NetworkConfig
from fewmask.data.batch import Batch
from fewmask.errors import ConfigError
from fewmask.methods.base import Method, Phase, Progress, Step, Turn, register
from fewmask.methods.semigda_settings import RELEASED, SemiGDAConfig
from fewmask.networks.autoencoder import Autoencoder, load_diffusers
from fewmask.networks.latent_encoder import LatentEncoder
from fewmask.networks.latent_mapping import LatentMapping
from fewmask.networks.skip_adapters import SkipAdapters
from fewmask.task import Task

FEW_STEPS = 100  # a training of the autoencoder that is shorter is a trial


@register("semigda")
class SemiGDA(Method):
    """SemiGDA: generative dual-distribution alignment (Huang et al., arXiv 2604.23274, 2026).

    Masks are images: class ``k`` is the grey ``2 k / (K - 1) - 1``. An autoencoder with encoder ``E`` and decoder ``D``, frozen, gives
    latents: ``z_v`` of the image, ``z_g`` of the mask. Two branches look for ``z_g``: ``z_m = M(z_v)`` by a mapping ``M``, and ``z_r``
    by a trained encoder ``R``; ``D`` turns both into masks ``p_m``, ``p_r``, helped by adapters that bring it the features of ``E`` and
    of ``R``. With labelled half ``l``, unlabelled half ``u``, ``mse`` the mean squared error and ``dice`` the Dice loss:

        phase autoencoder   mse(D(E(x)), x) + kl_weight KL      images and masks; left out where weights are given
        phase align         Lp_s + lambda Lp_u                  trains M and R
        phase train         Ls_s + Lp_s + lambda (Ls_u + Lp_u)  trains M, R and adapters
        Lp_s = mse(z_m^l, z_g) + mse(z_r^l, z_g)        Lp_u = mse(z_m^u, z_r^u)
        Ls_s = dice(p_m^l, y) + dice(p_r^l, y)          Ls_u = dice(p_m^u, p_r^u) + dice(p_r^u, p_m^u)

    ``lambda`` grows to 0.1 over each phase. The mean of both branches predicts. `network.norm` and `network.dropout` are those of ``R``.
    """

    Config = SemiGDAConfig
    config: SemiGDAConfig
    latent_sums: Tensor
    spatial_dims = (2,)
    family = "generative"
    year = 2026
    released = RELEASED
    networks = "2 branches, autoencoder"
    cost = 32.1
    idea = "masks as images in a frozen autoencoder's latent space, found by a mapping and an encoder that agree"

    def __init__(self, task: Task, config: SemiGDAConfig, network: NetworkConfig) -> None:
        super().__init__(task, config, network)
        self.code = MaskCode(task.num_classes, config.codes)
        self.branches = LatentBranches(
            autoencoder := Autoencoder(config.autoencoder),
            LatentMapping(autoencoder.latent_channels, config.mapping_width),
            LatentEncoder(
                autoencoder.widths,
                config.blocks,
                autoencoder.latent_channels,
                norm=network.norm or "batch",
                dropout=0.1 if network.dropout is None else network.dropout,
            ),
            {
                name: SkipAdapters(autoencoder.widths, autoencoder.groups, config.adapter_mode)
                for name in BRANCHES
                if config.adapters in ("both", name)
            },
            config.input_range,
        )
        self._check_task(autoencoder)
        autoencoder.requires_grad_(self._trains_autoencoder)
        self.register_buffer("latent_sums", torch.zeros(3, dtype=torch.float64))

    def _check_task(self, autoencoder: Autoencoder) -> None:
        task, order = self.task, self.config.codes.class_order
        if task.in_channels not in (1, 3):
            raise ConfigError(
                f"semigda takes images of 1 or 3 channels, but these have {task.in_channels}: choose another method"
            )
        if wrong := [side for side in task.patch_size if side % autoencoder.stride]:
            raise ConfigError(
                f"sampling.patch_size: {wrong[0]} is not a multiple of {autoencoder.stride}, the autoencoder's stride; "
                "change it, or give method.autoencoder.widths fewer levels"
            )
        if order is not None and len(order) != task.num_classes:
            raise ConfigError(f"method.codes.class_order names {len(order)} classes, but there are {task.num_classes}")

    @property
    def _trains_autoencoder(self) -> bool:
        return not (self.config.autoencoder.diffusers or self.config.autoencoder.pretrained)

    def phases(self) -> list[Phase]:
        """The autoencoder's training, unless its weights are given; the alignment; the training."""
        config = self.config
        align = Phase(
            "align",
            config.align_iterations,
            unlabelled=config.align == "both",
            validated=False,
            sampling={"labelled": config.align_batch, "unlabelled": config.align_batch},
        )
        return [
            *([self._autoencoding()] if self._trains_autoencoder else []),
            *([align] if config.align != "none" else []),
            Phase("train"),
        ]

    def _autoencoding(self) -> Phase:
        config = self.config.autoencoder
        kept = {**config.resolved(), "latent_channels": config.latent_channels, "masks": config.masks}
        return Phase(
            "autoencoder",
            config.iterations,
            labelled=config.masks == "labelled",
            all_images=True,
            validated=False,
            keeps="branches.autoencoder",
            settings={f"autoencoder.{name}": str(value) for name, value in kept.items()},
            sampling={"labelled": config.batch // 4, "unlabelled": config.batch // 2},
        )

    def starts_from(self) -> tuple[str, Phase] | None:
        """The autoencoder that another run has kept, where one is given."""
        path = self.config.autoencoder.pretrained
        return None if path is None else (path, self._autoencoding())

    def begin(self) -> None:
        """Stable Diffusion's autoencoder, where one is given."""
        if self.config.autoencoder.diffusers:
            load_diffusers(self.branches.autoencoder, self.config.autoencoder)

    def turns(self, phase: str) -> list[Turn]:
        """The autoencoder alone; the mapping and the encoder with optimisers of their own; both with the adapters."""
        parts = self.branches
        parts.autoencoder.requires_grad_(phase == "autoencoder")
        if phase == "autoencoder":
            own = {"optimiser": "adam", "lr": self.config.autoencoder.lr, "schedule": "cosine", "weight_decay": 0.0}
            return [Turn("main", [*parts.autoencoder.parameters()], own)]
        if phase == "align":
            # Only phase train begins its rate anew.
            poly = {"schedule": "poly", "poly_power": 0.9, "poly_cycle": 1.0, "momentum": 0.9}
            adamw = {"optimiser": "adamw", "lr": self.config.mapping_lr, "weight_decay": 0.01, **poly}
            sgd = {"optimiser": "sgd", "lr": self.config.encoder_lr, "weight_decay": 1e-4, **poly}
            return [
                Turn("image", [*parts.mapping.parameters()], adamw),
                Turn("mask", [*parts.encoder.parameters()], sgd),
            ]
        trained = (parts.mapping, parts.encoder, parts.adapters)
        return [Turn("main", [p for part in trained for p in part.parameters()])]

    def forward(self, batch: Batch, progress: Progress) -> Step:
        """The loss of the phase; each term is logged without its weight."""
        if progress.phase == "autoencoder":
            return self._autoencode(batch, progress)
        step = self._align(batch, progress) if progress.phase == "align" else self._train(batch, progress)
        if progress.iteration == 0 and not self._trains_autoencoder:
            kept = round_trip(self.branches.autoencoder, batch.labels, self.code) == batch.labels
            step.logs["mask_accuracy"] = kept.float().mean()
            warn_if_lossy(kept.float().mean())
        return step

    def _autoencode(self, batch: Batch, progress: Progress) -> Step:
        """Half images, half masks; and the latents' spread, which the last tenth of the phase measures."""
        config, images = self.config.autoencoder, self.branches.prepare(batch.unlabelled)
        drawn = random_masks(
            max(config.batch // 2 - len(batch.labels), 1), images.shape[2:], self.task.num_classes, images.device
        )
        made = reconstruct(self.branches.autoencoder, images, torch.cat([batch.labels, drawn]), self.code)
        if progress.iteration + 1 > 0.9 * progress.iterations:
            latents = made.latents.double()
            one = latents.new_tensor(latents.numel())
            self.latent_sums += torch.stack([one, latents.sum(), latents.square().sum()])
            if progress.iteration + 1 == progress.iterations >= FEW_STEPS:
                warn_if_lossy(made.accuracy)
        logs = {"reconstruction": made.error.detach(), "kl": made.kl.detach(), "mask_accuracy": made.accuracy}
        return Step(made.error + config.kl_weight * made.kl, {**logs})

    def after_step(self, progress: Progress) -> None:
        """At the end of the autoencoder's training: from now on its latents have variance 1."""
        if progress.phase == "autoencoder" and progress.iteration + 1 == progress.iterations:
            count, total, squares = self.latent_sums
            variance = squares / count - (total / count).square()
            self.branches.autoencoder.scale.copy_(variance.clamp_min(1e-12).rsqrt())

    def _align(self, batch: Batch, progress: Progress) -> Step:
        """Lp_s + lambda Lp_u for the turn's branch; the other one holds still."""
        name: BranchName = "image" if progress.turn == "image" else "mask"
        other: BranchName = "mask" if name == "image" else "image"
        ramp, count = self.config.align_unlabelled, len(batch.labels)
        both = bool(ramp.weight) and self.config.align == "both"
        images = self.branches.prepare(batch.images if both else batch.labelled)
        own = self.branches.find(name, images).latent
        known = self._distance(own[:count], self._mask_latent(batch.labels))
        step = Step(known, {"align": known.detach()})
        if both:
            with torch.no_grad():
                # The mapping sees every image alone; R's batch norms must see what they train on.
                theirs = self.branches.find(other, images if other == "mask" else images[count:]).latent
            unknown = self._distance(own[count:], theirs[-len(batch.unlabelled) :])
            step.loss = step.loss + ramp.at(progress) * unknown
            step.logs |= {"align_unlabelled": unknown.detach(), "weight": ramp.at(progress)}
        return step

    def _train(self, batch: Batch, progress: Progress) -> Step:
        """All four terms."""
        config, count = self.config, len(batch.labels)
        weight = config.unlabelled.at(progress)
        whole = config.unlabelled.weight > 0
        images = self.branches.prepare(batch.images if whole else batch.labelled)
        found = {name: self.branches.find(name, images, self._noise(images, name)) for name in BRANCHES}
        shares = [self._shares(name, found[name]) for name in BRANCHES]
        truth = one_hot(batch.labels, self.task.num_classes)
        masks = self._dice(shares[0][:count], truth) + self._dice(shares[1][:count], truth)
        step = Step(config.dice_weight * masks, {"dice_loss": masks.detach()})
        latents = [found[name].latent for name in BRANCHES]
        if config.align != "none" and config.align_in_training:
            goal = self._mask_latent(batch.labels)
            known = self._distance(latents[0][:count], goal) + self._distance(latents[1][:count], goal)
            step.loss, step.logs["align"] = step.loss + known, known.detach()
            if whole and config.align == "both":
                unknown = self._distance(latents[0][count:], latents[1][count:])
                step.loss = step.loss + weight * unknown
                step.logs["align_unlabelled"] = unknown.detach()
        if whole:
            free = [one[count:] for one in shares]
            labels = [one.argmax(1) for one in free]
            step.watch(labels[0]).logs |= {"weight": weight, "agreement": (labels[0] == labels[1]).float().mean()}
            if config.agree:
                agreement = self._agreement(*free)
                step.loss, step.logs["agree"] = step.loss + weight * agreement, agreement.detach()
            if config.mix and 3 * progress.iteration >= progress.iterations:
                mixed = self._mixed(batch, truth, free)
                step.loss, step.logs["mix"] = step.loss + weight * mixed, mixed.detach()
        return step

    def predictor(self) -> nn.Module:
        """The mean of both branches' memberships, or one branch."""
        which = self.config.predict_with
        return BranchPredictor(self.branches, self.code, BRANCHES if which == "mean" else (which,))

    def _mask_latent(self, labels: Tensor) -> Tensor:
        """``z_g``. The release's alignment takes greys from 0 to 1 for it, which its own validation does not."""
        image = self.code.to_image(labels)
        with torch.no_grad():
            return self.branches.autoencoder.encode((image + 1) / 2 if self.config.as_released else image).mean

    def _noise(self, images: Tensor, name: BranchName) -> Tensor | None:
        """Noise on ``z_v`` in some batches."""
        if name == "mask" or not self.config.noise:
            return None
        side = self.branches.autoencoder.stride
        shape = (len(images), self.branches.autoencoder.latent_channels, *(n // side for n in images.shape[2:]))
        some = torch.rand((), device=images.device) < self.config.noise
        noise = torch.randn(shape, device=images.device) * some
        return noise / self.branches.autoencoder.scale if self.config.as_released else noise

    def _shares(self, name: BranchName, found: MaskLatent) -> Tensor:
        return self.code.shares(self.branches.decode(name, found))

    def _distance(self, first: Tensor, second: Tensor) -> Tensor:
        squares = (first - second).square()
        return squares.mean() if self.config.latent_reduction == "mean" else squares.flatten(1).sum(1).mean()

    def _dice(self, shares: Tensor, target: Tensor, counts: Tensor | None = None) -> Tensor:
        """Of the foreground alone for two classes, unless asked for."""
        first = 1 if self.task.num_classes == 2 and not self.config.dice_background else 0
        squared = self.config.dice_squared
        return dice_loss(shares[:, first:], target[:, first:], squared=squared, per_sample=True, counts=counts)

    def _agreement(self, image: Tensor, mask: Tensor) -> Tensor:
        """Ls_u."""
        if self.config.target == "sharpened":
            sure = confident_part(image), confident_part(mask)
            return self._dice(image, *sure[1]) + self._dice(mask, *sure[0])
        if self.config.target == "soft":
            return self._dice(image, mask) + self._dice(mask, image)
        return self._dice(image, mask.detach()) + self._dice(mask, image.detach())

    def _mixed(self, batch: Batch, truth: Tensor, free: list[Tensor]) -> Tensor:
        """Each branch against labels and the other branch's sure labels, on images with exchanged boxes."""
        count = min(len(batch.labels), len(batch.unlabelled))
        inside = random_box(batch.labelled.shape[2:], 2 / 3, batch.labelled.device)
        images = self.branches.prepare(exchange(batch.labelled[:count], batch.unlabelled[:count], inside))
        losses = []
        for name, theirs in zip(BRANCHES, reversed(free), strict=True):
            sure, counts = confident_part(theirs[:count])
            target = exchange(truth[:count], sure, inside)
            counted = exchange(torch.ones_like(counts), counts, inside)
            losses.append(self._dice(self._shares(name, self.branches.find(name, images)), target, counted))
        return losses[0] + losses[1]
