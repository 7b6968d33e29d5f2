"""Race: ways to predict with a V-Net on a CPU, among them the field's loop and MONAI's inferer.

    python benchmarks/sliding_window.py                      one window of 112 x 112 x 80
    python benchmarks/sliding_window.py --scan 130 130 88    12 such windows at stride 18 x 18 x 4, as on a left atrium

MONAI, OpenVINO, ONNX Runtime and torch.compile take part where they are installed (``pip install monai openvino onnx
onnxruntime onnxscript``; torch.compile needs a C++ compiler) and named in ``--runners``; fewmask itself needs none of them.
The V-Net of width 16 is first trained for some steps on synthetic scans, so that differences mean something. Every runner
is a process of its own, because how memory is kept is the whole process's, and they take turns; a ratio is the median over
the rounds of the first runner's time over this one's in the same round.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fields_loop import fields_loop
from torch import nn

from fewmask.allocator import keep_freed_memory
from fewmask.data.phantom import Phantom
from fewmask.inference.engines import accelerate
from fewmask.inference.sliding_window import sliding_window
from fewmask.methods.base import SoftmaxPredictor
from fewmask.networks.vnet import VNet

PATCH, STRIDE = (112, 112, 80), (18, 18, 4)
TRAINING_PATCH = (64, 64, 48)
Runner = Callable[[np.ndarray], np.ndarray]


def by_fewmask(network: nn.Module, engine: str = "eager") -> Runner:
    """Fewmask's sliding window with one of its engines."""
    fast = accelerate(network, engine)
    return lambda image: sliding_window(torch.from_numpy(image), fast, PATCH, STRIDE).numpy()


def by_monai(network: nn.Module, batch: int = 1) -> Runner:
    """MONAI's inferer at the same windows, so many of them in a batch."""
    from monai.inferers import SlidingWindowInferer

    # Its stride is int(patch * (1 - overlap)): half a voxel more keeps rounding from making it one less.
    overlap = [1 - (s + 0.5) / p for s, p in zip(STRIDE, PATCH, strict=True)]
    inferer = SlidingWindowInferer(PATCH, sw_batch_size=batch, overlap=overlap, mode="constant")

    def run(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return inferer(torch.from_numpy(image)[None], network)[0].numpy()

    return run


class Foreign(nn.Module):
    """A compiled network of another library under fewmask's sliding window."""

    def __init__(self, run: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Windows ``(B, C, *S)`` to probabilities ``(B, K, *S)``."""
        return torch.from_numpy(self.run(x.numpy()))


def by_openvino(network: nn.Module, precision: str) -> Runner:
    """OpenVINO's compiled network."""
    import openvino

    model = openvino.convert_model(network, example_input=torch.zeros(1, 1, *PATCH), input=[(1, 1, *PATCH)])
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1}
    compiled = openvino.compile_model(model, "CPU", hints)
    return by_fewmask(Foreign(lambda x: compiled(x)[0]))


def by_onnxruntime(network: nn.Module) -> Runner:
    """ONNX Runtime's session."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        torch.onnx.export(network, (torch.zeros(1, 1, *PATCH),), path, input_names=["x"], dynamo=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return by_fewmask(Foreign(lambda x: session.run(None, {"x": x})[0]))


def by_compile(network: nn.Module, engine: str) -> Runner:
    """torch.compile of the network with its norms folded."""
    import torch._inductor.config

    from fewmask.inference.engines import _fold_norms

    _fold_norms(network)
    torch._inductor.config.freezing = True
    if engine == "bf16":
        network = accelerate(network, "bf16")
    return by_fewmask(torch.compile(network))


def plain(network: nn.Module) -> Runner:
    """The field's loop."""
    return lambda image: fields_loop(network, image, 2, PATCH, STRIDE)


# Whether glibc keeps freed memory, and how it is built.
RUNNERS: dict[str, tuple[bool, Callable[[nn.Module], Runner]]] = {
    "field's loop": (False, plain),
    "MONAI": (False, by_monai),
    "fewmask eager, glibc untouched": (False, by_fewmask),
    "field's loop, memory kept": (True, plain),
    "MONAI, memory kept": (True, by_monai),
    "MONAI, 2 windows a batch, memory kept": (True, lambda network: by_monai(network, 2)),
    "MONAI, 4 windows a batch, memory kept": (True, lambda network: by_monai(network, 4)),
    "fewmask eager": (True, by_fewmask),
    "fewmask fused": (True, lambda network: by_fewmask(network, "fused")),
    "fewmask bf16": (True, lambda network: by_fewmask(network, "bf16")),
    "ONNX Runtime": (True, by_onnxruntime),
    "OpenVINO": (True, lambda network: by_openvino(network, "f32")),
    "OpenVINO bf16": (True, lambda network: by_openvino(network, "bf16")),
    "compile": (True, lambda network: by_compile(network, "eager")),
    "compile bf16": (True, lambda network: by_compile(network, "bf16")),
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
USUAL = ["field's loop", "MONAI", "fewmask eager", "fewmask fused", "fewmask bf16"]


def scan(shape: tuple[int, ...], number: int) -> tuple[np.ndarray, np.ndarray]:
    """A synthetic scan ``(1, *shape)`` of unit variance, and where its organ is."""
    image, label = Phantom(shape=shape, noise=0.8).scan(0, number)
    return ((image - image.mean()) / image.std())[None].astype(np.float32), label == 1


def train(steps: int) -> SoftmaxPredictor:
    """A V-Net that has seen some patches of six scans."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = VNet(3, 1, 2).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    scans = [scan((112, 112, 80), number) for number in range(6)]
    for step in range(steps):
        image, organ = scans[step % len(scans)]
        corner = [int(rng.integers(side - p + 1)) for side, p in zip(organ.shape, TRAINING_PATCH, strict=True)]
        at = tuple(slice(start, start + p) for start, p in zip(corner, TRAINING_PATCH, strict=True))
        patch, target = torch.from_numpy(image[:, *at].copy())[None], torch.from_numpy(organ[at].copy())[None]
        loss = nn.functional.cross_entropy(network(patch), target.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        print(f"\rtraining {step + 1} of {steps}: {loss.item():.3f}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return SoftmaxPredictor(network).eval()


def work(name: str, folder: Path, options: argparse.Namespace) -> None:
    """A runner's process: predicts once a line on standard input, and answers with the seconds."""
    keep, build = RUNNERS[name]
    if keep:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    network = SoftmaxPredictor(VNet(3, 1, 2)).eval()
    network.load_state_dict(torch.load(options.weights, weights_only=True))
    clock = CLOCKS[options.clock]
    image = np.load(folder / "image.npy")
    runner = build(network)
    window = image[(slice(None), *(slice(side) for side in PATCH))].copy()
    for _ in range(2):
        runner(window)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = clock()
        result = runner(image)
        seconds = clock() - start
        np.save(folder / f"{name}.npy", result)
        print(seconds, flush=True)


def race(options: argparse.Namespace, folder: Path) -> None:
    """Start the runners, let them take turns, print the table."""
    processes = {}
    for name in options.runners:
        command = [sys.executable, __file__, "--worker", name, "--folder", str(folder), "--clock", options.clock]
        command += ["--weights", str(options.weights), "--threads", str(options.threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
        processes[name] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            stderr=subprocess.DEVNULL,
        )
    answers = {name: last_line(process, "ready") for name, process in processes.items()}
    for name in [name for name, answer in answers.items() if answer is None]:
        print(f"{name} cannot start: is it installed? (see the head of this file)")
        processes.pop(name).wait()
    times: dict[str, list[float]] = {name: [] for name in processes}
    for number in range(options.rounds):
        for name, process in processes.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            times[name].append(float(process.stdout.readline()))
            print(f"round {number + 1}, {name}: {times[name][-1]:.2f} s", file=sys.stderr, flush=True)
    for process in processes.values():
        process.stdin.close()
        process.wait()
    table(times, folder, options)


def last_line(process: subprocess.Popen[str], wanted: str) -> str | None:
    """The line that was waited for, or None where the process ended before."""
    for line in process.stdout:
        if line.strip() == wanted:
            return line
    return None


def table(times: dict[str, list[float]], folder: Path, options: argparse.Namespace) -> None:
    """Markdown; ratios and differences are to the first runner."""
    first = next(iter(times))
    expected, organ = np.load(folder / f"{first}.npy"), np.load(folder / "organ.npy")
    counts = [math.ceil((side - p) / s) + 1 for side, p, s in zip(organ.shape, PATCH, STRIDE, strict=True)]
    print(f"scan {organ.shape}, {math.prod(counts)} windows, {options.threads} threads, {options.rounds} rounds")
    print(f"\n| way | s per window | ratio to {first} (least-most) | largest difference | labels that differ | Dice |")
    print("|---|---|---|---|---|---|")
    for name, seconds in times.items():
        ratios = [a / b for a, b in zip(times[first], seconds, strict=True)]
        got = np.load(folder / f"{name}.npy")
        differing = float((got.argmax(0) != expected.argmax(0)).mean())
        mask = got.argmax(0) == 1
        dice = 2 * (mask & organ).sum() / (mask.sum() + organ.sum())
        largest = float(np.abs(got - expected).max())
        print(
            f"| {name} | {statistics.median(seconds) / math.prod(counts):.2f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f}-{max(ratios):.2f}) | {'none' if largest == 0 else f'{largest:.0e}'} | {differing:.1e} | {dice:.5f} |"
        )


def main() -> None:
    """Train the network, race, print the table; or be one of the runners."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=int, nargs=3, default=PATCH, help="voxels; each side at least the window's")
    parser.add_argument("--runners", nargs="+", choices=[*RUNNERS, "all"], default=USUAL, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu, with 1 thread: where others use the machine"
    )
    parser.add_argument("--steps", type=int, default=120, help="of training")
    parser.add_argument("--weights", type=Path, help="where to keep the trained weights for the next race")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.folder, options)
        return
    options.runners = list(RUNNERS) if "all" in options.runners else options.runners
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.weights = options.weights or folder / "weights.pt"
        if not options.weights.exists():
            torch.save(train(options.steps).state_dict(), options.weights)
        image, organ = scan(tuple(options.scan), 1000)
        np.save(folder / "image.npy", image)
        np.save(folder / "organ.npy", organ)
        race(options, folder)


if __name__ == "__main__":
    main()
