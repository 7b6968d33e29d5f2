"""How an autoencoder learns images and masks together, and how well it gives masks back."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewmask.components.mask_codes import MaskCode
from fewmask.errors import FewmaskWarning
from fewmask.networks.autoencoder import Autoencoder

GOOD_ENOUGH = 0.95


class Reconstruction(NamedTuple):
    """What one pass of the training gives.

    Attributes:
        error: mean squared difference from what went in.
        kl: divergence of the latents from the normal distribution, mean over the samples.
        accuracy: share of the masks' pixels that come back as they were.
        latents: unscaled means ``(B, Z, *S / f)``, without gradient.
    """

    error: Tensor
    kl: Tensor
    accuracy: Tensor
    latents: Tensor


def reconstruct(autoencoder: Autoencoder, images: Tensor, labels: Tensor, code: MaskCode) -> Reconstruction:
    """Encode, draw a latent, decode.

    Args:
        autoencoder: what learns.
        images: prepared, ``(B_i, 3, H, W)``.
        labels: ``(B_m, H, W)``.
        code: of the labels.
    """
    given = torch.cat([images, code.to_image(labels).to(images.dtype)])
    found = autoencoder.encode(given)
    output = autoencoder.decode(found.mean + found.std * torch.randn_like(found.mean))
    same = code.to_labels(output[len(images) :].detach()) == labels
    raw = found.mean.detach() / autoencoder.scale + autoencoder.shift
    return Reconstruction(F.mse_loss(output, given), found.kl.mean(), same.float().mean(), raw)


@torch.no_grad()
def round_trip(autoencoder: Autoencoder, labels: Tensor, code: MaskCode) -> Tensor:
    """Labels ``(B, H, W)`` to latents and back: no branch alone, without adapters, can do better."""
    return code.to_labels(autoencoder.decode(autoencoder.encode(code.to_image(labels)).mean))


def warn_if_lossy(accuracy: Tensor) -> None:
    """Say that an autoencoder loses too much of the masks, where less than 95 % of their pixels come back."""
    if accuracy < GOOD_ENOUGH:
        warnings.warn(
            f"the autoencoder gives back {100 * float(accuracy):.1f} % of the masks' pixels: train it longer "
            "(method.autoencoder.iterations) or wider (method.autoencoder.widths), or give it fewer levels",
            FewmaskWarning,
            stacklevel=2,
        )
