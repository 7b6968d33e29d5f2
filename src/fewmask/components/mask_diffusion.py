"""Networks that see a mask and an image at once, one of them noisy, and what they can be asked for: a mask, an image, a round of both.

A mask is a map of K channels around -1 and 1 (see `signed`); steps count from 0 as in `fewmask.diffusion`.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from fewmask.components.batch_statistics import untracked
from fewmask.components.losses import one_hot
from fewmask.config import Section
from fewmask.diffusion import NoiseSchedule

Start = Literal["zero", "unit", "background", "minus_one"]
Encoding = Literal["softmax", "raw", "argmax_st"]


def signed(logits: Tensor, how: Encoding = "softmax") -> Tensor:
    """Logits ``(B, K, *S)`` as a mask for the image pathway.

    Args:
        logits: of a mask pathway.
        how: ``softmax``: 2 softmax - 1; ``raw``: as they are; ``argmax_st``: one-hot, with the gradient of the softmax.
    """
    if how == "raw":
        return logits
    soft = logits.float().softmax(1)
    if how == "argmax_st":
        soft = one_hot(soft.argmax(1), soft.shape[1]) + soft - soft.detach()
    return 2 * soft - 1


def noisy_start(schedule: NoiseSchedule, noise: Tensor, t: Tensor, start: Start = "zero") -> Tensor:
    """What the mask pathway gets where no mask is known: noise around nothing.

    Args:
        schedule: of the noise.
        noise: unit noise ``(B, K, *S)``.
        t: steps ``(B,)``.
        start: the clean mask to which it is added: ``zero``; ``background``, all background; ``minus_one``, no class at all; ``unit``
            is the unit noise itself, whatever the step.
    """
    if start == "unit":
        return noise
    clean = torch.zeros_like(noise) if start == "zero" else torch.full_like(noise, -1.0)
    if start == "background":
        clean[:, 0] = 1.0
    return schedule.add_noise(clean, noise, t)


class MaskPathway(nn.Module):
    """Image and noisy mask to the clean mask's logits.

    Args:
        network: ``(B, K + C, *S)`` and steps ``(B,)`` to ``(B, K, *S)``.
        classes: K.

    Attributes:
        order: the network's channel of each class, ``(K,)``; who asks sees classes only.
    """

    order: Tensor

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("order", torch.arange(classes))

    def forward(self, image: Tensor, noisy_mask: Tensor, t: Tensor) -> Tensor:
        """Logits ``(B, K, *S)`` of images ``(B, C, *S)`` and noisy masks ``(B, K, *S)`` at steps ``(B,)``."""
        logits: Tensor = self.network(torch.cat([self.channels(noisy_mask), image], 1), t)
        return logits.index_select(1, self.order)

    def channels(self, mask: Tensor) -> Tensor:
        """A mask by class, in the order of the network's channels."""
        return mask.index_select(1, self.order.argsort())


class Pathways(nn.Module):
    """A mask pathway and an image pathway that know the same classes.

    Args:
        mask: see `MaskPathway`.
        image: ``(B, C + K, *S)`` and steps ``(B,)`` to the noise ``(B, C, *S)``.
    """

    def __init__(self, mask: MaskPathway, image: nn.Module) -> None:
        super().__init__()
        self.mask, self.image = mask, image

    def noise(self, noisy_image: Tensor, mask: Tensor, t: Tensor) -> Tensor:
        """The noise in images ``(B, C, *S)``, as their masks ``(B, K, *S)`` suggest."""
        noise: Tensor = self.image(torch.cat([noisy_image, self.mask.channels(mask)], 1), t)
        return noise.float()


class RoundsConfig(Section):
    """The rounds of reconstruction and new mask in co-training."""

    count: int = Field(5, ge=0, description="R; 0: co-training by pseudo-labels alone")
    chained: bool = Field(
        True, description="a round starts from the mask of the round before; false: from the first one"
    )
    detach: bool = Field(
        True, description="no gradient through the mask that enters a round, nor through its reconstruction"
    )
    clip: bool = Field(
        True, description="reconstructions are kept between the least and the largest value of their image"
    )
    track: bool = Field(False, description="running statistics of batch norm learn from the rounds too")
    recompute: bool = Field(
        False, description="compute a round's features again for its gradient: memory of one round, a third more time"
    )

    @model_validator(mode="after")
    def _tracks_once(self) -> Self:
        if self.track and self.recompute:
            raise ValueError("rounds.recompute would count running statistics twice: set rounds.track to false")
        return self


class Draw(NamedTuple):
    """Where a mask starts: steps ``(B,)`` and unit noise ``(B, K, *S)``."""

    t: Tensor
    noise: Tensor


class MaskDiffusion(nn.Module):
    """The random questions of training, each with steps and noise of its own from torch's generator.

    Args:
        schedule: of the noise.
        classes: K.
        start: see `noisy_start`.
        encoding: see `signed`.
        space: what a reconstruction is held to, the noise or the image.
        t_max: largest step of a reconstruction, from 1; none: T.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        classes: int,
        *,
        start: Start = "zero",
        encoding: Encoding = "softmax",
        space: Literal["noise", "image"] = "noise",
        t_max: int | None = None,
    ) -> None:
        super().__init__()
        self.schedule, self.classes, self.start, self.encoding = schedule, classes, start, encoding
        self.space, self.highest = space, None if t_max is None else t_max - 1

    def draw(self, image: Tensor) -> Draw:
        """Uniform steps and noise for images ``(B, C, *S)``."""
        t = self.schedule.draw(len(image))
        return Draw(t, torch.randn(len(image), self.classes, *image.shape[2:], device=image.device))

    def mask(self, pathway: MaskPathway, image: Tensor, draw: Draw | None = None, start: Start | None = None) -> Tensor:
        """Logits ``(B, K, *S)`` of the mask that a pathway finds in noise."""
        t, noise = draw or self.draw(image)
        logits: Tensor = pathway(image, noisy_start(self.schedule, noise, t, start or self.start), t)
        return logits

    def reconstruct(self, model: Pathways, image: Tensor, mask: Tensor, *, pure: bool = False) -> tuple[Tensor, Tensor]:
        """Hide an image behind noise and have it found with the help of a mask.

        Args:
            model: its image pathway is asked.
            image: ``(B, C, *S)``.
            mask: logits ``(B, K, *S)``; the gradient passes through them.
            pure: nothing of the image is left.

        Returns:
            The mean squared error, of the noise or of the image, and the image that is believed in.
        """
        t = self.schedule.draw(len(image), high=self.highest)
        noise = torch.randn_like(image)
        noisy = noise if pure else self.schedule.add_noise(image, noise, t)
        predicted = model.noise(noisy, signed(mask, self.encoding), t)
        rebuilt = self.schedule.clean_from_noise(noisy, predicted, t)
        loss = F.mse_loss(predicted, noise) if self.space == "noise" else F.mse_loss(rebuilt, image)
        return loss, rebuilt

    def cycle(self, model: Pathways, image: Tensor, *, pure: bool = False) -> Tensor:
        """The loss of unsupervised pre-training: an image reconstructed with the mask that the model finds in it."""
        return self.reconstruct(model, image, self.mask(model.mask, image), pure=pure)[0]

    def round(self, model: Pathways, image: Tensor, mask: Tensor, rounds: RoundsConfig) -> tuple[Tensor, Tensor]:
        """Reconstruct an image with a mask, and find the mask of the reconstruction.

        Returns:
            Logits ``(B, K, *S)`` of the new mask, and the loss of the reconstruction. With ``rounds.detach`` the one teaches the mask
            pathway alone and the other the image pathway alone.
        """
        with nullcontext() if rounds.track else untracked(model):
            loss, rebuilt = self.reconstruct(model, image, mask.detach() if rounds.detach else mask)
            if rounds.clip:
                over = list(range(1, image.ndim))
                rebuilt = rebuilt.clamp(image.amin(over, keepdim=True), image.amax(over, keepdim=True))
            return self.mask(model.mask, rebuilt.detach() if rounds.detach else rebuilt), loss
