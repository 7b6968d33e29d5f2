"""The selective scan: a linear recurrence whose factors depend on its input."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.errors import ConfigError, nearest
from fewmask.networks.chunked_scan import ChunkedScan
from fewmask.networks.precision import full_precision

ScanName = Literal["auto", "cuda", "chunked", "sequential"]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    backend: ScanName = "auto",
    steps: int | None = None,
) -> Tensor:
    """The scan of Mamba (Gu & Dao, 2023), per channel ``d`` and state ``n``, from a state of zero.

        h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t,    y_t = sum_n C_t h_t + D u_t

    Computed in float32, or in float64 if ``u`` is, with autocast off. In training only the inputs and, of a
    long sequence, one state of sixteen or more are kept.

    Args:
        u: inputs ``(batch, L, D)``.
        delta: step sizes ``(batch, L, D)``, not below 0.
        A: ``(D, N)``, not above 0.
        B: ``(batch, L, N)``.
        C: ``(batch, L, N)``.
        D: ``(D)``; none: no direct path.
        backend: ``chunked``: plain torch, see `chunked_scan`; ``cuda``: the kernels of the package mamba-ssm;
            ``sequential``: step by step in float64, to compare with; ``auto``: cuda where that package is installed and
            the tensors are on a GPU, else chunked.
        steps: of a chunk; none: chosen from the sizes.

    Returns:
        ``y (batch, L, D)`` in the type of ``u``.

    Raises:
        ConfigError: an unknown backend, or ``cuda`` where it cannot run.
    """
    exact = full_precision(u)
    y = _backend(backend, u)(exact, *(x.to(exact.dtype) for x in (delta, A, B, C)), steps)[0]
    if D is not None:
        y = torch.addcmul(y, exact, D.to(exact.dtype))
    return y.to(u.dtype)


Scan = Callable[..., tuple[Tensor, Tensor]]


def _backend(name: str, u: Tensor) -> Scan:
    if name == "auto":
        name = "cuda" if u.is_cuda and u.dtype != torch.float64 and kernels() else "chunked"
    if name == "cuda" and not (u.is_cuda and kernels()):
        why = "mamba-ssm cannot be imported" if u.is_cuda else f"the tensors are on the {u.device.type}"
        raise ConfigError(f"the scan's backend is cuda, but {why}; use auto or chunked")
    if name == "chunked" and (torch.compiler.is_compiling() or torch.jit.is_tracing()):  # type: ignore
        return traceable_scan
    backends: dict[str, Scan] = {
        "cuda": kernel_scan,
        "chunked": ChunkedScan.apply,
        "sequential": sequential_scan,
    }
    if name not in backends:
        raise ConfigError(f"there is no backend {name!r} of the scan: {nearest(name, ('auto', *backends))}")
    return backends[name]


@functools.cache
def kernels() -> Callable[..., Any] | None:
    """The scan of the package mamba-ssm, or none where it is not installed or does not fit torch."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    found: Callable[..., Any] = selective_scan_fn
    return found


def sequential_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, steps: int | None = None
) -> tuple[Tensor, Tensor]:
    """The recurrence as it is written, in float64: outputs ``(batch, L, D)`` and last state ``(batch, D, N)``."""
    doubles = [x.double() for x in (u, delta, B, C)]
    h = torch.zeros(u.shape[0], *A.shape, dtype=torch.float64, device=u.device)
    outputs = []
    for u_t, delta_t, B_t, C_t in zip(*(x.unbind(1) for x in doubles), strict=True):
        h = (delta_t[..., None] * A.double()).exp() * h + (delta_t * u_t)[..., None] * B_t[:, None]
        outputs.append((h * C_t[:, None]).sum(-1))
    return torch.stack(outputs, 1).to(u.dtype), h.to(u.dtype)


def kernel_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, steps: int | None = None
) -> tuple[Tensor, Tensor]:
    """The same by the kernels of mamba-ssm, in float32."""
    run = kernels()
    assert run is not None
    inputs = [x.transpose(1, 2).contiguous() for x in (u, delta, B, C)]
    y, last = run(inputs[0], inputs[1], A, inputs[2], inputs[3], return_last_state=True)
    return y.transpose(1, 2), last


def traceable_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, steps: int | None = None
) -> tuple[Tensor, Tensor]:
    """The same for compilers and exporters: out-of-place, and some ``2 sqrt(L)`` operations in all.

    All chunks are walked through at once from a state of zero beside the product of their factors; then each gets what
    comes out of the one before it.
    """
    length = u.shape[1]
    steps = steps or math.isqrt(length - 1) + 1
    u_, delta_, B_, C_ = (_chunks(x, steps) for x in (u, delta, B, C))
    a = (delta_[..., None] * A).exp().unbind(0)
    b = ((delta_ * u_)[..., None] * B_[..., None, :]).unbind(0)
    states, products = [b[0]], [a[0]]
    for a_q, b_q in zip(a[1:], b[1:], strict=True):
        states.append(a_q * states[-1] + b_q)
        products.append(a_q * products[-1])
    begin, begins = torch.zeros_like(b[0][:, 0]), []
    for product, end in zip(products[-1].unbind(1), states[-1].unbind(1), strict=True):
        begins.append(begin)
        begin = product * begin + end
    h = torch.stack(states) + torch.stack(products) * torch.stack(begins, 1)
    y = (h * C_[..., None, :]).sum(-1)
    return y.permute(1, 2, 0, 3).flatten(1, 2)[:, :length], begin


def _chunks(x: Tensor, steps: int) -> Tensor:
    """``(batch, L, F)`` as ``(Q, batch, K, F)``, with zeros behind the end, which change no state."""
    padded = F.pad(x, (0, 0, 0, -x.shape[1] % steps))
    return padded.reshape(x.shape[0], -1, steps, x.shape[2]).permute(2, 0, 1, 3)
