"""The scan in all its forms against the recurrence as it is written."""

from __future__ import annotations

import math

import pytest
import torch

from fewmask.errors import ConfigError
from fewmask.networks.chunked_scan import ChunkedScan, plan
from fewmask.networks.selective_scan import (
    kernel_scan,
    kernels,
    selective_scan,
    sequential_scan,
    traceable_scan,
)

FORMS = {"sequential": sequential_scan, "chunked": ChunkedScan.apply, "traceable": traceable_scan}
each_form = pytest.mark.parametrize("scan", FORMS.values(), ids=FORMS)
fast_forms = pytest.mark.parametrize("scan", [ChunkedScan.apply, traceable_scan], ids=["chunked", "traceable"])


def operands(length, batch=2, channels=3, states=2, dtype=torch.float64, seed=0, device="cpu"):
    """``u, delta, A, B, C`` in the range of a fresh network, which want gradients."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    values = [
        normal(batch, length, channels),
        torch.nn.functional.softplus(normal(batch, length, channels) - 2),
        -torch.arange(1.0, states + 1, dtype=torch.float64).repeat(channels, 1) * normal(channels, states).exp(),
        normal(batch, length, states),
        normal(batch, length, states),
    ]
    return [x.to(device, dtype).requires_grad_() for x in values]


def everything(scan, inputs, steps=None):
    """Outputs, last state and all gradients of a random functional of both."""
    y, last = scan(*inputs, steps)
    draw = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=draw, dtype=torch.float64).to(x) for x in (y, last)]
    loss = (y * weights[0]).sum() + (last * weights[1]).sum()
    return [y.detach(), last.detach(), *torch.autograd.grad(loss, inputs)]


# ------------------------------------------------------------------------------------------------------ known values


@each_form
def test_by_hand(scan):
    def column(*values):
        return torch.tensor(values, dtype=torch.float64)[None, :, None]

    A = torch.tensor([[-1.0]], dtype=torch.float64)
    u, delta, B, C = column(1, 2, -1), column(0.5, 1, 0.25), column(1, 0.5, 2), column(2, 1, -1)
    y, last = scan(u, delta, A, B, C, None)
    direct = y + 0.1 * u
    torch.testing.assert_close(direct, column(1.1, 1.38393972, -0.52205318), rtol=0, atol=1e-8)
    assert last.item() == pytest.approx(0.42205318, abs=1e-8)
    # C picks the states themselves.
    states, _ = scan(u, delta, A, B, torch.ones_like(C), None)
    torch.testing.assert_close(states, column(0.5, 1.18393972, 0.42205318), rtol=0, atol=1e-8)


def test_the_direct_path_by_hand():
    def column(*values):
        return torch.tensor(values, dtype=torch.float64)[None, :, None]

    u, A, D = column(1, 2, -1), -torch.ones(1, 1, dtype=torch.float64), torch.full((1,), 0.1, dtype=torch.float64)
    y = selective_scan(u, column(0.5, 1, 0.25), A, column(1, 0.5, 2), column(2, 1, -1), D)
    torch.testing.assert_close(y, column(1.1, 1.38393972, -0.52205318), rtol=0, atol=1e-8)


@each_form
@pytest.mark.parametrize("step", [0.01, 0.5, 3.0])
def test_constant_input_is_a_geometric_series(scan, step):
    ones = torch.ones(1, 300, 1, dtype=torch.float64)
    y, _ = scan(ones, step * ones, -ones[:, 0], ones, ones, None)
    t = torch.arange(1, 301, dtype=torch.float64)
    torch.testing.assert_close(
        y[0, :, 0], step * (1 - torch.exp(-step * t)) / (1 - math.exp(-step)), rtol=0, atol=1e-12
    )


# ---------------------------------------------------------------------------------------------------------- equality


@fast_forms
@pytest.mark.parametrize("length", [1, 2, 7, 64, 245])
@pytest.mark.parametrize("steps", [1, 3, 16, "whole", None])
def test_equals_the_sequential_scan_in_float64(scan, length, steps):
    inputs = operands(length)
    steps = length if steps == "whole" else steps
    for got, wanted in zip(everything(scan, inputs, steps), everything(sequential_scan, inputs), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-11)


@fast_forms
@pytest.mark.parametrize("steps", [3, None])
def test_equals_the_sequential_scan_in_float32(scan, steps):
    wanted = everything(sequential_scan, operands(1000))
    got = everything(scan, operands(1000, dtype=torch.float32), steps)
    assert (got[0] - wanted[0]).abs().max() < 2e-5
    assert (got[1] - wanted[1]).abs().max() < 2e-5
    for mine, exact in zip(got[2:], wanted[2:], strict=True):
        torch.testing.assert_close(mine.double(), exact, rtol=1e-4, atol=1e-4)


def test_a_state_that_fills_the_processor_takes_one_chunk_at_a_time():
    assert plan(100, 2**20, torch.device("cpu")).chunks == 1
    assert plan(20480, 1024, torch.device("cpu")).chunks > 1
    wide = operands(70, channels=600, states=16)  # more values than a vector operation has
    assert plan(70, 2 * 600 * 16, torch.device("cpu")).chunks == 1
    for got, wanted in zip(everything(ChunkedScan.apply, wide), everything(sequential_scan, wide), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


def test_gradcheck():
    # With chunks of two steps that is several blocks, the last of them not full.
    assert torch.autograd.gradcheck(lambda *x: ChunkedScan.apply(*x, 2), operands(21, batch=1, channels=2))
    assert torch.autograd.gradcheck(lambda *x: ChunkedScan.apply(*x, None), operands(5))


def test_equals_the_parallel_scan_of_mambapy():
    mamba = pytest.importorskip("mambapy.mamba", reason="mambapy is not installed").MambaBlock
    inputs = operands(200, dtype=torch.float32)
    with torch.no_grad():
        theirs = mamba.selective_scan(None, *inputs, torch.ones(3))
        torch.testing.assert_close(selective_scan(*inputs, torch.ones(3)), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_gives_what_the_processor_gives():
    on_cpu, on_gpu = operands(1000, dtype=torch.float32), operands(1000, dtype=torch.float32, device="cuda")
    for got, wanted in zip(everything(ChunkedScan.apply, on_gpu), everything(ChunkedScan.apply, on_cpu), strict=True):
        torch.testing.assert_close(got.cpu(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not (torch.cuda.is_available() and kernels()), reason="mamba-ssm or the GPU is missing")
def test_equals_the_kernels_of_mamba_ssm():
    results = []
    for backend in ("cuda", "chunked"):
        inputs = operands(1000, channels=64, states=16, dtype=torch.float32, device="cuda")
        y = selective_scan(*inputs, torch.ones(64, device="cuda"), backend=backend)
        results.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=6e-4, atol=2e-3)


def test_kernels_get_channels_before_steps(monkeypatch):
    """A stand-in with the layout of mamba-ssm's function, which itself runs on GPUs only."""

    def channels_first(u, delta, A, B, C, return_last_state):
        assert return_last_state
        assert all(x.is_contiguous() for x in (u, delta, B, C))
        y, last = sequential_scan(u.mT, delta.mT, A, B.mT, C.mT)
        return y.mT, last

    monkeypatch.setattr("fewmask.networks.selective_scan.kernels", lambda: channels_first)
    inputs = operands(40)
    for got, wanted in zip(everything(kernel_scan, inputs), everything(sequential_scan, inputs), strict=True):
        torch.testing.assert_close(got, wanted)


# -------------------------------------------------------------------------------------------------------- robustness


@each_form
def test_the_future_does_not_reach_the_past(scan):
    inputs = operands(60)
    changed = [x.detach().clone() for x in inputs]
    for at in (0, 1, 3, 4):
        changed[at][:, 25:] *= 1.5
    first, second = scan(*inputs, None)[0], scan(*changed, None)[0]
    if scan is sequential_scan:
        assert torch.equal(first[:, :25], second[:, :25])
    assert (first[:, :25] - second[:, :25]).abs().max() < 1e-6
    assert (first[:, 25:] - second[:, 25:]).abs().max() > 0.01


@fast_forms
def test_hard_decay_stays_finite(scan):
    u, _, A, B, C = operands(3000, states=16, dtype=torch.float32)
    delta = torch.full_like(u, 20.0).requires_grad_()
    wanted = everything(sequential_scan, [u, delta, A, B, C])
    for got, exact in zip(everything(scan, [u, delta, A, B, C]), wanted, strict=True):
        assert got.isfinite().all()
        torch.testing.assert_close(got, exact, rtol=1e-4, atol=1e-3)


def test_a_hundred_thousand_steps_with_gradients():
    inputs = operands(100_000, batch=1, dtype=torch.float32)
    y, last, *grads = everything(ChunkedScan.apply, inputs)
    assert all(x.isfinite().all() for x in (y, last, *grads))
    # What was long ago is forgotten: the end is that of a short sequence.
    short = [x if x.ndim == 2 else x[:, -2000:] for x in inputs]
    torch.testing.assert_close(y[:, -1], sequential_scan(*short)[0][:, -1].detach(), rtol=1e-4, atol=1e-5)
    # Nothing ends at 2000 steps: the first input has its part in the last state where decay is slow.
    slow = [x.detach() * (1e-6 if at == 2 else 1) for at, x in enumerate(inputs)]
    slow[0].requires_grad_()
    ChunkedScan.apply(*slow, None)[1].sum().backward()
    assert slow[0].grad[0, 0].abs().min() > 0


def test_what_is_kept_for_the_backward_pass_is_far_less_than_the_states():
    inputs = operands(4096, batch=1, channels=64, states=16, dtype=torch.float32)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.untyped_storage().nbytes()) or x, lambda x: x
    ):
        ChunkedScan.apply(*inputs, None)
    assert sum(kept) < 4 * (sum(x.numel() for x in inputs) + 4096 * 64 * 16 / 15)


def test_autocast_touches_neither_pass():
    exact = operands(50, dtype=torch.float32)
    rounded = [x.detach().bfloat16().requires_grad_() for x in exact]
    plain = [x.detach().float().requires_grad_() for x in rounded]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = selective_scan(*rounded)
        y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    wanted = selective_scan(*plain)
    torch.testing.assert_close(y, wanted.bfloat16(), rtol=0, atol=0)
    wanted.bfloat16().float().square().sum().backward()
    for mine, theirs in zip(rounded, plain, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad.bfloat16(), rtol=0, atol=0)


def test_the_type_of_the_input_is_kept():
    assert selective_scan(*operands(5)).dtype == torch.float64
    assert selective_scan(*operands(5, dtype=torch.float32)).dtype == torch.float32


def test_backends_agree_and_wrong_ones_are_named():
    inputs = operands(30)
    torch.testing.assert_close(
        selective_scan(*inputs, backend="sequential"), selective_scan(*inputs, backend="auto"), rtol=1e-10, atol=1e-10
    )
    with pytest.raises(ConfigError, match="backend is cuda, but the tensors are on the cpu"):
        selective_scan(*inputs, backend="cuda")
    with pytest.raises(ConfigError, match=r"'chunk'.*chunked"):
        selective_scan(*inputs, backend="chunk")
