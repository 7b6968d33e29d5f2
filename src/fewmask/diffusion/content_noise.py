"""Noise and steps that are a function of an image: random-looking, yet the same at every call, in every batch and on every device.

A predictor that starts from noise needs some for each window. A generator would tie it to the order of windows and to their number in a
batch, and an exported program has none. Here the bits of the image are hashed (the finaliser of MurmurHash3, 32 bits) to a key, and the
key and a voxel's place to the voxel's noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


def _mix(values: Tensor) -> Tensor:
    """32-bit words in int64 to 32-bit words; products may wrap at 64 bits, which leaves the lower 32 right."""
    values = (values ^ (values >> 16)) * 0x85EBCA6B & _WORD
    values = (values ^ (values >> 13)) * 0xC2B2AE35 & _WORD
    return values ^ (values >> 16)


def _words(key: Tensor, count: int, stream: int) -> Tensor:
    """``count`` words for each key ``(B,)``: ``(B, count)``."""
    places = torch.arange(count, device=key.device)
    return _mix(_mix(key + stream * _GOLDEN & _WORD)[:, None] ^ _mix(places + 1))


def content_key(image: Tensor, seed: int = 0) -> Tensor:
    """A 32-bit key for each image ``(B, C, *S)`` of a batch, ``(B,)`` int64: equal for equal bits, in whatever batch."""
    bits = image.detach().float().contiguous().flatten(1).view(torch.int32).long() & _WORD
    places = _mix(torch.arange(bits.shape[1], device=image.device) + (seed + 1) * _GOLDEN)
    return _mix(_mix(bits ^ places).sum(1) & _WORD)  # a sum of whole numbers is exact in any order


def content_steps(key: Tensor, steps: int, stream: int) -> Tensor:
    """A uniform diffusion step from 0 to ``steps - 1`` for each key ``(B,)``."""
    return _words(key, 1, stream)[:, 0] % steps


def content_noise(key: Tensor, shape: Sequence[int], stream: int) -> Tensor:
    """Standard normal noise ``(B, *shape)`` float32 for each key ``(B,)``, by Box and Muller.

    Args:
        key: see `content_key`.
        shape: of one sample's noise.
        stream: a number that tells the draws of one key apart.
    """
    count = math.prod(shape)
    radius, angle = ((_words(key, count, 2 * stream + k).float() + 0.5) / 2**32 for k in (0, 1))
    noise = (-2 * radius.log()).sqrt() * (2 * math.pi * angle).cos()
    return noise.reshape(key.shape[0], *shape)  # len() would fix the batch size of an exported program
