"""Race: the selective scan, forward and backward, against mambapy's parallel scan.

    python benchmarks/selective_scan.py [--length 20480] [--channels 64] [--states 16] [--batch 1]
    python benchmarks/selective_scan.py --device cuda --runners mambapy fewmask mamba-ssm

Every runner is a process of its own that takes turns with the others. On a CPU its memory is how far the first pass lifts its peak as
Linux counts it (VmHWM), on a GPU what torch counts; inputs are not part of it, outputs and gradients are. Errors are the largest
difference of the outputs, and of any gradient in parts of that gradient's largest value, from fewmask's scan in float64, which the tests
hold to the recurrence as it is written. Install mambapy beside fewmask (``pip install mambapy``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from runners import ask
from torch import Tensor

from fewmask.allocator import keep_freed_memory
from fewmask.networks.selective_scan import selective_scan

Scan = Callable[..., Tensor]
NAMES = ("y", "u", "delta", "A", "B", "C", "D")


def by_mambapy() -> Scan:
    """Its `selective_scan`, the one that its models train with on a CPU."""
    from mambapy.mamba import MambaBlock

    return lambda *operands: MambaBlock.selective_scan(None, *operands)


def by_fewmask(backend: str = "chunked") -> Scan:
    """Ours, or the kernels of mamba-ssm behind our interface."""
    return lambda *operands: selective_scan(*operands, backend=backend)


# Whether glibc keeps freed memory, as the fewmask program makes it, and how the scan is built.
RUNNERS: dict[str, tuple[bool, Callable[[], Scan]]] = {
    "mambapy": (False, by_mambapy),
    "fewmask": (False, by_fewmask),
    "mambapy, memory kept": (True, by_mambapy),
    "fewmask, memory kept": (True, by_fewmask),
    "mamba-ssm": (False, lambda: by_fewmask("cuda")),
}
USUAL = [name for name in RUNNERS if name != "mamba-ssm"]


def operands(options: argparse.Namespace, length: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """``u, delta, A, B, C, D`` as at the start of a training."""
    torch.manual_seed(0)
    batch, channels, states = options.batch, options.channels, options.states
    values = [
        torch.randn(batch, length, channels),
        torch.nn.functional.softplus(torch.randn(batch, length, channels) - 3),
        -torch.arange(1.0, states + 1).repeat(channels, 1),
        torch.randn(batch, length, states),
        torch.randn(batch, length, states),
        torch.ones(channels),
    ]
    return [value.to(options.device, dtype).requires_grad_() for value in values]


def passes(scan: Scan, inputs: list[Tensor], clock: Callable[[], float]) -> tuple[list[float], list[Tensor]]:
    """Seconds of one forward and one backward pass, and what came out of both."""
    start = clock()
    y = scan(*inputs)
    between = clock()
    grads = torch.autograd.grad(y, inputs, torch.ones_like(y))
    return [between - start, clock() - between], [y.detach(), *grads]


def main() -> None:
    """Race, or be one of the runners."""
    options = arguments()
    torch.set_num_threads(options.threads)
    if options.worker:
        work(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        race(options)


def arguments() -> argparse.Namespace:
    """The command line; the hidden options are for the runners."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=20480)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--states", type=int, default=16)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: where others use the machine")
    parser.add_argument("--runners", nargs="+", choices=RUNNERS, default=USUAL, metavar="NAME")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------ in the runners


def work(options: argparse.Namespace) -> None:
    """Answers the memory of the first pass, then the seconds of a pass for every line on standard input."""
    keep, build = RUNNERS[options.worker]
    if keep:
        keep_freed_memory()
    scan = build()
    clock = clock_of(options)
    passes(scan, operands(options, 64), clock)  # what libraries need themselves is not part of the race
    inputs = operands(options, options.length)
    before = memory(options, reset=True)
    results = passes(scan, inputs, clock)[1]
    print(json.dumps(memory(options) - before), flush=True)
    torch.save([result.cpu() for result in results], options.folder / f"{options.worker}.pt")
    del results
    for _ in sys.stdin:
        print(json.dumps(passes(scan, inputs, clock)[0]), flush=True)


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    """Seconds, of the clock that was chosen; on a GPU after what it has to do is done."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter

    def read() -> float:
        if options.device == "cuda":
            torch.cuda.synchronize()
        return clock()

    return read


def memory(options: argparse.Namespace, *, reset: bool = False) -> int:
    """Bytes that were used at most since the last reset."""
    if options.device == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


# -------------------------------------------------------------------------------------------------- in the race


def race(options: argparse.Namespace) -> None:
    """Start the runners, let them take turns, print the table."""
    children = {name: start(options, name) for name in options.runners}
    try:
        peaks = {name: ask(child) for name, child in children.items()}
        times: dict[str, list[list[float]]] = {name: [] for name in children}
        for _ in range(options.rounds):
            for name, child in children.items():
                times[name].append(ask(child, "go"))
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    exact = passes(by_fewmask(), operands(options, options.length, torch.float64), clock_of(options))[1]
    table(options, times, peaks, [x.cpu() for x in exact])


def start(options: argparse.Namespace, name: str) -> subprocess.Popen[str]:
    """A runner, which begins with its first pass."""
    words = [sys.executable, __file__, "--worker", name, "--folder", str(options.folder)]
    for key in ("length", "channels", "states", "batch", "threads", "device", "clock"):
        words += [f"--{key}", str(getattr(options, key))]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def table(
    options: argparse.Namespace, times: dict[str, list[list[float]]], peaks: dict[str, int], exact: list[Tensor]
) -> None:
    """Markdown; ratios are to the first runner, round by round."""
    first = next(iter(times))
    print(
        f"batch {options.batch}, L {options.length}, D {options.channels}, N {options.states}, {options.rounds} rounds"
    )
    print("\n| way | forward, s | backward, s | faster (least-most) | MiB | less | error of y | of a gradient |")
    print("|" + "---|" * 8)
    for name, rounds in times.items():
        forward, backward = (statistics.median(part) for part in zip(*rounds, strict=True))
        ratios = [sum(a) / sum(b) for a, b in zip(times[first], rounds, strict=True)]
        results = torch.load(options.folder / f"{name}.pt", weights_only=True)
        errors = [float((a - b).abs().max()) for a, b in zip(results, exact, strict=True)]
        worst = max(error / float(b.abs().max()) for error, b in zip(errors[1:], exact[1:], strict=True))
        print(
            f"| {name} | {forward:.3f} | {backward:.3f} | {statistics.median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f}) | "
            f"{peaks[name] / 2**20:.0f} | {peaks[first] / peaks[name]:.1f}x | {errors[0]:.0e} | {worst:.0e} |"
        )


if __name__ == "__main__":
    main()
