"""The recurrence of a selective state space, in plain torch, with a backward of its own.

With ``a_t = exp(delta_t A)`` and ``b_t = delta_t u_t B_t`` it is ``h_t = a_t h_{t-1} + b_t`` and ``y_t = C_t h_t``. The
states of all steps fill ``D N`` values a step, far more than inputs and outputs, so they are never kept:

- The sequence is taken block by block, small enough that a block's states stay in the processor's cache.
- Within a block there are ``K`` chunks of ``Q`` steps. ``Q`` vector operations walk through all chunks at once, each
  from a state of zero; ``K`` small ones find the states in which the chunks really begin; ``Q`` more walk again from
  there. One chunk is enough where the states of a single step fill a vector operation.
- Only the states at the beginnings of chunks are kept for the backward pass, which works out the others anew.

The gradient of a state obeys the same recurrence backwards, ``s_t = g_t + a_{t+1} s_{t+1}``. Nothing is divided and no
logarithm is summed up: all factors lie in (0, 1], so a product may vanish, which is right, but nothing overflows.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fewmask.networks.precision import without_autocast


class Plan(NamedTuple):
    """How a sequence is cut.

    Attributes:
        steps: of a chunk (Q).
        chunks: that are walked through at once (K); a block has ``steps * chunks`` steps.
    """

    steps: int
    chunks: int


# Values in one vector operation, and in the states of a block: on a CPU what caches hold, else what keeps a GPU busy.
_CPU, _GPU = (2**14, 2**19), (2**20, 2**25)
_SHORTEST = 16


def plan(length: int, state: int, device: torch.device, steps: int | None = None) -> Plan:
    """Chunks for a sequence of ``length`` steps with ``state`` values each; ``steps`` sets the length of a chunk."""
    width, block = _CPU if device.type == "cpu" else _GPU
    chunks = min(max(1, width // state), math.isqrt(length - 1) + 1)
    steps = min(steps or min(max(_SHORTEST, block // (state * chunks)), -(-length // chunks)), length)
    return Plan(steps, min(chunks, -(-length // steps)))


class ChunkedScan(torch.autograd.Function):
    """The scan of float32 or float64 tensors that share type and device.

    Takes ``u, delta (batch, L, D)``, ``A (D, N)``, ``B, C (batch, L, N)`` and the steps of a chunk or none; gives
    ``y (batch, L, D)`` and the last state ``(batch, D, N)``.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, steps: int | None
    ) -> tuple[Tensor, Tensor]:
        """Outputs and last state; keeps the inputs and the states at the beginnings of chunks."""
        cut = plan(u.shape[1], u.shape[0] * A.numel(), u.device, steps)
        with without_autocast(u.device):
            y, last, begins = _forward(u, delta, A, B, C, cut)
        ctx.save_for_backward(u, delta, A, B, C, begins)
        ctx.plan = cut
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of all five inputs, block by block from the end."""
        with without_autocast(grad_y.device):
            u, delta, A, B, C, begins = ctx.saved_tensors
            return (*_backward(grad_y, grad_last, u, delta, A, B, C, begins, ctx.plan), None)


def _forward(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, cut: Plan) -> tuple[Tensor, Tensor, Tensor]:
    block = _Block(A, u.shape[0], cut)
    y = torch.empty_like(u)
    spans = _spans(u.shape[1], cut)
    begins = A.new_empty(len(spans), cut.chunks, *block.state)
    state = A.new_zeros(block.state)
    for span, start in zip(spans, begins.unbind(0), strict=True):
        block.load(*(_take(x, span, cut) for x in (u, delta, B)))
        block.find_begins(start, state)
        block.walk(start)
        state = block.h[-1, -1].clone()
        _put(y, span, (_take(C, span, cut)[..., None, :] @ block.h[1:]).squeeze(-2))
    return y, state.transpose(1, 2), begins


def _backward(
    grad_y: Tensor,
    grad_last: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    begins: Tensor,
    cut: Plan,
) -> tuple[Tensor, ...]:
    block = _Block(A, u.shape[0], cut)
    grads = [torch.empty_like(x) for x in (u, delta, B, C)]
    grad_A = torch.zeros_like(block.A)
    behind = grad_last.transpose(1, 2)
    s = torch.empty_like(block.a)
    s_steps = s.unbind(0)
    spans = _spans(u.shape[1], cut)
    for span, start in zip(reversed(spans), reversed(begins.unbind(0)), strict=True):
        u_, delta_, B_, C_, g = (_take(x, span, cut) for x in (u, delta, B, C, grad_y))
        block.load(u_, delta_, B_)
        block.walk(start)
        grad_C = (g[..., None, :] @ block.h[1:].mT).squeeze(-2)
        torch.mul(g[..., None, :], C_[..., None], out=s)
        behind = block.walk_back(s_steps, behind)
        grad_x = (B_[..., None, :] @ s).squeeze(-2)
        grad_B = (block.x[..., None, :] @ s.mT).squeeze(-2)
        # d a_t = s_t h_{t-1}, and a_t is its own derivative.
        exponent = block.a.mul_(block.h[:-1]).mul_(s)
        grad_delta = torch.mul(exponent, block.A, out=s).sum(-2).addcmul_(grad_x, u_)
        grad_A += torch.mul(exponent, delta_[..., None, :], out=s).flatten(0, 2).sum(0)
        for total, part in zip(grads, (grad_x.mul_(delta_), grad_delta, grad_B, grad_C), strict=True):
            _put(total, span, part)
    grad_u, grad_delta, grad_B, grad_C = grads
    return grad_u, grad_delta, grad_A.t(), grad_B, grad_C


class _Block:
    """The states of ``K`` chunks of ``Q`` steps; its memory is used again for every block.

    Values lie as ``(Q, K, batch, N, D)``: a step of all chunks is contiguous, and rows are channels.

    Args:
        A: ``(D, N)``.
        batch: samples.
        cut: ``Q`` and ``K``.
    """

    def __init__(self, A: Tensor, batch: int, cut: Plan) -> None:
        self.A = A.t().contiguous()
        self.exponent = self.A / math.log(2)  # on a CPU a power of two takes a third of the time of one of e
        self.state = (batch, *self.A.shape)
        self.a = A.new_empty(cut.steps, cut.chunks, *self.state)
        self.h = A.new_empty(cut.steps + 1, cut.chunks, *self.state)  # h[0]: the states before the first step
        self.a_steps, self.h_steps = self.a.unbind(0), self.h.unbind(0)

    def load(self, u: Tensor, delta: Tensor, B: Tensor) -> None:
        """Factors and additions of all steps, from pieces ``(Q, K, batch, D or N)``."""
        torch.mul(delta[..., None, :], self.exponent, out=self.a).exp2_()
        self.x = delta * u
        torch.mul(self.x[..., None, :], B[..., None], out=self.h[1:])
        self.through = (delta.sum(0)[..., None, :] * self.exponent).exp2_()  # a chunk's product of factors

    def find_begins(self, begins: Tensor, state: Tensor) -> None:
        """Write the state before each chunk ``(K, batch, N, D)``, of which the first is given."""
        begins[0] = state
        if len(begins) == 1:
            return
        ends = self.h_steps[1].clone()
        for a, b in zip(self.a_steps[1:], self.h_steps[2:], strict=True):
            torch.addcmul(b, a, ends, out=ends)
        each = begins.unbind(0)
        for k, end, factor in zip(range(len(each) - 1), ends.unbind(0), self.through.unbind(0), strict=False):
            torch.addcmul(end, factor, each[k], out=each[k + 1])

    def walk(self, begins: Tensor) -> None:
        """All states from the ones before the chunks; they take the place of the additions."""
        self.h_steps[0].copy_(begins)
        for a, before, h in zip(self.a_steps, self.h_steps, self.h_steps[1:], strict=False):
            h.addcmul_(a, before)

    def walk_back(self, s: tuple[Tensor, ...], behind: Tensor) -> Tensor:
        """Gradients of all states, in place of what ``y`` alone gives; ``behind`` comes from the block behind.

        Returns:
            What the block before gets.
        """
        arriving = behind[None]
        if len(s[0]) > 1:
            firsts = s[-1].clone()
            for a, g in zip(reversed(self.a_steps[1:]), reversed(s[:-1]), strict=True):
                torch.addcmul(g, a, firsts, out=firsts)
            firsts.mul_(self.a_steps[0])
            arriving = torch.empty_like(firsts)
            arriving[-1] = behind
            each = arriving.unbind(0)
            for k in range(len(each) - 1, 0, -1):
                torch.addcmul(firsts[k], self.through[k], each[k], out=each[k - 1])
        s[-1].add_(arriving)
        for a, after, g in zip(reversed(self.a_steps[1:]), reversed(s[1:]), reversed(s[:-1]), strict=True):
            g.addcmul_(a, after)
        return self.a_steps[0][0] * s[0][0]


def _spans(length: int, cut: Plan) -> list[slice]:
    block = cut.steps * cut.chunks
    return [slice(first, min(first + block, length)) for first in range(0, length, block)]


def _take(x: Tensor, span: slice, cut: Plan) -> Tensor:
    """A block of ``(batch, L, F)`` as ``(Q, K, batch, F)``; zeros behind the end, which change no state."""
    piece = x[:, span]
    missing = cut.steps * cut.chunks - piece.shape[1]
    if missing:
        piece = torch.nn.functional.pad(piece, (0, 0, 0, missing))
    return piece.reshape(x.shape[0], cut.chunks, cut.steps, -1).permute(2, 1, 0, 3).contiguous()


def _put(x: Tensor, span: slice, piece: Tensor) -> None:
    """The way back: write a block without what lies behind the end."""
    x[:, span] = piece.permute(2, 1, 0, 3).flatten(1, 2)[:, : span.stop - span.start]
