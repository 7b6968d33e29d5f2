"""Label maps as images and back: every class is a level of grey, or a colour."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fewmask.components.losses import one_hot
from fewmask.config import Section, Sizes
from fewmask.errors import ConfigError, FewmaskWarning

# The corners of the cube of colours: black, white, then the others, each a neighbour of black or of white.
PALETTE = ((-1, -1, -1), (1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))


class MaskCodeConfig(Section):
    """How classes become levels of grey between -1 and 1, and grey becomes classes."""

    mode: Literal["scalar", "palette"] = Field(
        "scalar",
        description="scalar: levels of grey; palette: corners of the cube of colours, for up to eight classes, none between two others",
    )
    divisor: Literal["k_minus_1", "k"] = Field(
        "k_minus_1", description="levels 2 k / divisor - 1; k: as the paper prints it, so that white is never used"
    )
    membership: Literal["hat", "soft_distance"] = Field(
        "hat", description="how far a grey belongs to a class: 1 - |distance|, or a softmax of squared distances"
    )
    temperature: float = Field(0.25, gt=0, description="of soft_distance and palette")
    clip: Literal["hard", "straight_through"] = Field(
        "hard", description="greys beyond -1 and 1 get no gradient, or pass it as if nothing was clipped"
    )
    class_order: Sizes | None = Field(
        None, description="classes in the order of their levels; put classes that touch on neighbouring levels"
    )

    @model_validator(mode="after")
    def _orders_all(self) -> Self:
        if self.class_order is not None and sorted(self.class_order) != list(range(len(self.class_order))):
            raise ValueError(f"class_order {list(self.class_order)} must name every class once, from 0 on")
        if self.class_order is not None and self.mode == "palette":
            raise ValueError("class_order orders levels of grey, and mode: palette has none: drop one of the two")
        return self


class MaskCode:
    """The code of label maps with a number of classes.

    Args:
        num_classes: with the background; the more, the smaller the error that a grey may have, ``1 / (num_classes - 1)``.
        config: see `MaskCodeConfig`.

    Raises:
        ConfigError: a palette has too few colours.
    """

    def __init__(self, num_classes: int, config: MaskCodeConfig | None = None) -> None:
        self.config = config or MaskCodeConfig()
        if num_classes > len(PALETTE):
            margin = f"codes.mode: {self.config.mode} and {num_classes} classes"
            if self.config.mode == "palette":
                raise ConfigError(f"{margin}: a palette has {len(PALETTE)} colours; set codes.mode=scalar")
            told = f"{margin}: a grey may be off by no more than {1 / (num_classes - 1):.2f} of the range from -1 to 1"
            warnings.warn(f"{told}, which an autoencoder seldom keeps; merge classes", FewmaskWarning, stacklevel=2)
        self.num_classes = num_classes
        self.divisor = num_classes - 1 if self.config.divisor == "k_minus_1" else num_classes
        self.order: Sequence[int] = self.config.class_order or range(num_classes)

    def to_image(self, labels: Tensor) -> Tensor:
        """Labels ``(B, *S)`` as images ``(B, 3, *S)``."""
        if self.config.mode == "palette":
            return self._colours(labels.device)[labels].movedim(-1, 1)
        levels = torch.empty(self.num_classes, device=labels.device)
        levels[torch.tensor(list(self.order), device=labels.device)] = torch.arange(
            self.num_classes, device=labels.device, dtype=levels.dtype
        )
        grey = 2 * levels[labels] / self.divisor - 1
        return grey.unsqueeze(1).expand(-1, 3, *grey.shape[1:])

    def to_level(self, image: Tensor) -> Tensor:
        """Images ``(B, 3, *S)`` as levels ``(B, *S)`` between 0 and ``num_classes - 1``; whole numbers are classes in their order."""
        level = (image.float().mean(1) + 1) / 2 * self.divisor
        over = 0.25 * self.divisor if self.config.membership == "soft_distance" else 0.0
        clipped = level.clamp(-over, self.num_classes - 1 + over)
        return level + (clipped - level).detach() if self.config.clip == "straight_through" else clipped

    def memberships(self, level: Tensor) -> Tensor:
        """Levels ``(B, *S)`` as shares of the classes ``(B, K, *S)``, which sum to 1."""
        places: dict[int, int] = {label: place for place, label in enumerate(self.order)}
        distances = torch.stack([level - places[label] for label in range(self.num_classes)], 1)
        if self.config.membership == "soft_distance":
            return (-distances.square() / self.config.temperature).softmax(1)
        return (1 - distances.abs()).clamp_min(0)

    def shares(self, image: Tensor) -> Tensor:
        """Images ``(B, 3, *S)`` as shares of the classes ``(B, K, *S)``, which sum to 1.

        They are the `memberships` of the levels, or with a palette ``softmax_k(-|image - colour_k|^2 / temperature)``.
        """
        if self.config.mode == "scalar":
            return self.memberships(self.to_level(image))
        colours = self._colours(image.device).reshape(self.num_classes, 3, *[1] * (image.ndim - 2))
        distances = (image.float()[:, None] - colours).square().sum(2)
        return (-distances / self.config.temperature).softmax(1)

    def to_labels(self, image: Tensor) -> Tensor:
        """Images ``(B, 3, *S)`` as the labels ``(B, *S)`` to which they belong most."""
        return self.shares(image).argmax(1)

    def _colours(self, device: torch.device) -> Tensor:
        return torch.tensor(PALETTE[: self.num_classes], dtype=torch.float32, device=device)


def confident_part(memberships: Tensor, threshold: float = 0.5, power: float = 10.0) -> tuple[Tensor, Tensor]:
    """Hard pseudo-labels: a class where its membership to a power reaches a threshold, and of each foreground class one component.

    With two classes everything else is background, with more it is left out. Above 0.933 in the defaults.

    Args:
        memberships: ``(B, K, *S)``.
        threshold: of the sharpened membership.
        power: that sharpens.

    Returns:
        Indicator maps ``(B, K, *S)``, and where they count, ``(B, 1, *S)``.
    """
    share, found = memberships.detach().max(1)
    sure = share**power >= threshold
    two = memberships.shape[1] == 2
    labels = torch.where(sure, found, torch.zeros_like(found))
    labels = largest_components(labels, memberships.shape[1])
    counts = torch.ones_like(sure) if two else sure
    return one_hot(labels, memberships.shape[1]), counts.unsqueeze(1).to(memberships.dtype)


def largest_components(labels: Tensor, num_classes: int) -> Tensor:
    """Labels ``(B, *S)`` with the largest connected component of each foreground class, per image; the rest is background."""
    import numpy as np
    from scipy import ndimage

    values: Any = labels.cpu().numpy()
    kept = np.zeros_like(values)
    for image, target in zip(values, kept, strict=True):
        for label in range(1, num_classes):
            parts, count = ndimage.label(image == label, np.ones((3,) * image.ndim))
            if count:
                target[parts == 1 + np.bincount(parts.ravel())[1:].argmax()] = label
    return torch.from_numpy(kept).to(labels.device)
