"""Random changes of feature maps that a decoder must withstand."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def feature_noise(features: Tensor, bound: float = 0.3) -> Tensor:
    """``x (1 + U)`` with ``U`` uniform in ``[-bound, bound]`` per channel and voxel, the same for the whole batch.

    Args:
        features: ``(B, C, *S)``.
        bound: largest relative change.
    """
    noise = torch.empty_like(features[:1]).uniform_(-bound, bound)
    return features * (1 + noise)


def attention_drop(features: Tensor, low: float = 0.7, high: float = 0.9) -> Tensor:
    """Zero the most attended voxels: where the channel mean reaches ``U(low, high)`` of its maximum in that sample.

    Args:
        features: ``(B, C, *S)``.
        low: smallest share of the maximum.
        high: largest share; one is drawn per call.
    """
    attention = features.mean(1, keepdim=True)
    share = torch.empty((), device=features.device, dtype=features.dtype).uniform_(low, high)
    threshold = attention.flatten(1).amax(1).view(-1, *[1] * (features.ndim - 1)) * share
    return features * (attention < threshold)


def keep_where(features: Tensor, keep: Tensor) -> Tensor:
    """Zero what lies outside a mask of the whole field of view.

    Args:
        features: ``(B, C, *s)``.
        keep: ``(B, *S)``, true where features stay; taken to their resolution by nearest neighbour.
    """
    return features * F.interpolate(keep[:, None].to(features.dtype), size=features.shape[2:], mode="nearest")


def outside_cutouts(foreground: Tensor, share: float = 0.4) -> Tensor:
    """A mask that is false in one box inside the bounding box of each object.

    Objects are connected by faces. Each side of the cut-out is ``share`` of the bounding box's, at least one voxel, and its place is drawn
    uniformly.

    Args:
        foreground: ``(B, *S)``, true where a prediction is not background.
        share: between 0 and 1.

    Returns:
        ``(B, *S)``, boolean.
    """
    from scipy import ndimage

    keep = torch.ones_like(foreground, dtype=torch.bool)
    for kept, mask in zip(keep, foreground.cpu().numpy(), strict=True):
        labels, _ = ndimage.label(mask)
        for box in ndimage.find_objects(labels):
            kept[_box_inside(box, share)] = False
    return keep


def _box_inside(box: tuple[slice, ...], share: float) -> tuple[slice, ...]:
    """A box of ``share`` of each side, at a drawn place within another."""
    sides = np.array([part.stop - part.start for part in box])
    lengths = np.maximum(1, np.round(share * sides)).astype(int)
    starts = (torch.rand(len(box)).numpy() * (sides - lengths + 1)).astype(int)
    return tuple(slice(p.start + s, p.start + s + n) for p, s, n in zip(box, starts, lengths, strict=True))
