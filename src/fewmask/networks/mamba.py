"""Selective state spaces over the tokens of an image, in three orders (tri-orientated Mamba)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.networks.init import without_decay
from fewmask.networks.precision import full_precision
from fewmask.networks.selective_scan import ScanName, selective_scan

# Step sizes at the start: log-uniform in between, and never below the floor.
_SLOWEST, _FASTEST, _FLOOR = 1e-3, 0.1, 1e-4


class TriOrientatedMamba(nn.Module):
    """Tokens that learn from each other forwards, backwards and across slices (SegMamba, Xing et al., MICCAI 2024).

    One map gives inputs ``x`` and gates ``z``; three state spaces of their own go through ``x``: in order, in reverse,
    and with the slice index running fastest. What they give is put back in order and summed, then

        out = W_out (SiLU(z) (y_forward + y_backward + y_slices))

    which is the sum of the three gated outputs, as all are gated by the same ``z``.

    Args:
        channels: of a token.
        d_state: N, states per channel.
        d_conv: width of the causal convolutions.
        expand: inner channels per channel.
        backend: see `selective_scan`.
    """

    def __init__(
        self, channels: int, *, d_state: int = 16, d_conv: int = 4, expand: int = 2, backend: ScanName = "auto"
    ) -> None:
        super().__init__()
        inner, rank = expand * channels, math.ceil(channels / 16)
        self.inputs = nn.Linear(channels, 2 * inner, bias=False)
        self.forwards, self.backwards, self.across = (
            SelectiveStateSpace(inner, rank, d_state=d_state, d_conv=d_conv, backend=backend) for _ in range(3)
        )
        self.outputs = nn.Linear(inner, channels, bias=False)

    def forward(self, tokens: Tensor, slices: int) -> Tensor:
        """Tokens ``(B, L, c)``, slice after slice, to the same shape; ``L`` must be a multiple of ``slices``."""
        x, z = self.inputs(tokens).chunk(2, dim=-1)
        y = self.forwards(x) + self.backwards(x.flip(1)).flip(1)
        y = y + interleave(self.across(interleave(x, slices)), tokens.shape[1] // slices)
        mixed: Tensor = self.outputs(y * F.silu(z))
        return mixed


def interleave(tokens: Tensor, slices: int) -> Tensor:
    """Reorder ``(B, L, c)`` from slice after slice to place after place: the slice index runs fastest.

    Output ``q S + s`` is input ``s L / S + q``. With ``L / S`` for ``S`` it is its own inverse.
    """
    return tokens.reshape(tokens.shape[0], slices, -1, tokens.shape[2]).transpose(1, 2).flatten(1, 2)


class SelectiveStateSpace(nn.Module):
    """A causal depth-wise convolution and a selective scan whose steps, inputs and outputs follow from the tokens.

    Step sizes, ``A`` and ``D`` start as in Mamba (Gu & Dao, 2023): ``A = -(1..N)`` for every channel, ``D = 1``, steps
    between 0.001 and 0.1.

    Args:
        channels: E.
        rank: of the map to step sizes.
        d_state: N.
        d_conv: width of the convolution.
        backend: see `selective_scan`.
    """

    def __init__(self, channels: int, rank: int, *, d_state: int, d_conv: int, backend: ScanName) -> None:
        super().__init__()
        self.sizes, self.backend = [rank, d_state, d_state], backend
        self.conv = nn.Conv1d(channels, channels, d_conv, groups=channels, padding=d_conv - 1)
        self.select = nn.Linear(channels, rank + 2 * d_state, bias=False)
        self.step = nn.Linear(rank, channels)
        self.A_log = without_decay(torch.arange(1.0, d_state + 1).log().repeat(channels, 1))
        self.D = without_decay(torch.ones(channels))
        self._start_steps()

    @torch.no_grad()
    def _start_steps(self) -> None:
        bound = self.step.in_features**-0.5
        self.step.weight.uniform_(-bound, bound)
        size = torch.empty_like(self.step.bias).uniform_(math.log(_SLOWEST), math.log(_FASTEST)).exp().clamp(_FLOOR)
        self.step.bias.copy_(size + (-torch.expm1(-size)).log())  # softplus of it is the size

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B, L, E)`` in order to ``(B, L, E)``; a token sees those before it and itself."""
        x = F.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        low_rank, B, C = self.select(x).split(self.sizes, dim=-1)
        delta = F.softplus(full_precision(self.step(low_rank)))
        return selective_scan(x, delta, -self.A_log.exp(), B, C, self.D, backend=self.backend)
