"""Race: a training step of fewmask, as `fewmask train` runs it, against a plain loop in eager float32, as the field writes it.

    python benchmarks/training_step.py [--dataset DATASET] [--methods supervised ua-mt cps] [--steps 5] [--threads 2]
    python benchmarks/training_step.py --device cuda --steps 50 [--compile]

Every runner is a process of its own, because how memory is kept is set for a whole process; they take turns step by step, so that a busy
moment of the machine meets all. All start from the same weights and see the same batches. Medians are printed, the ratio to the plain
loop, and how far losses are from the plain loop's in the first step and at most. The time of a step is the whole time from one step to
the next, loading included. The plain loop reads its patches from gzip HDF5 volumes in one loader process, where h5py is installed, and
else from the store. On a GPU the share of the time in which it computes is printed too, by torch's profiler.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runners import ask

WAYS = ("plain", "fewmask", "bf16", "bf16 contiguous", "bf16 compiled")


def main() -> None:
    """Prepare the data, then race method by method."""
    options = arguments()
    if options.child:
        run_child(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        if options.dataset is None:
            options.dataset = make_dataset(options)
        print(
            "| method | way | s a step | ratio | loss, first step | largest difference of a loss | peak memory | GPU busy |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for method in options.methods:
            race(options, method)


def arguments() -> argparse.Namespace:
    """The command line; the hidden options are for the runners."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help="a dataset folder; none: made volumes")
    parser.add_argument("--methods", nargs="+", default=["supervised"])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--patch", type=int, nargs="+", default=(112, 112, 80))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--norm", help="none: the network's own")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch; none: its own choice")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: of the training process alone")
    parser.add_argument("--compile", action="store_true", help="also race torch.compile")
    parser.add_argument("--ways", nargs="+", help=f"some of: {', '.join(WAYS)}")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.ways = options.ways or [way for way in WAYS if options.compile or "compiled" not in way]
    return options


def make_dataset(options: argparse.Namespace) -> Path:
    """Volumes a little larger than the patch: two labelled, four not."""
    from fewmask.data.phantom import Phantom, write_phantom

    shape = tuple(side + 24 for side in options.patch)
    data = write_phantom(options.folder / "data", Phantom(shape), train=2, unlabelled=4, test=0)
    return Path(data.root)


def race(options: argparse.Namespace, method: str) -> None:
    """All ways of one method, in turns."""
    children = {way: start(options, method, way) for way in options.ways}
    try:
        for child in children.values():
            ask(child)  # ready
        losses: dict[str, list[float]] = {way: [] for way in children}
        seconds: dict[str, list[float]] = {way: [] for way in children}
        for step in range(options.steps + 1):
            for way, child in children.items():
                answer = ask(child, "go")
                losses[way].append(answer["loss"])
                if step:  # the first one warms up
                    seconds[way].append(answer["seconds"])
        ends = {way: ask(child, "end") for way, child in children.items()}
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    base = options.ways[0]
    for way in options.ways:
        median = statistics.median(seconds[way])
        worst = max(abs(a - b) for a, b in zip(losses[way], losses[base], strict=True))
        busy = f"{ends[way]['busy']:.0%}" if ends[way]["busy"] is not None else "-"
        print(
            f"| {method} | {way} | {median:.3f} | {statistics.median(seconds[base]) / median:.2f}x | {losses[way][0]:.6f} | "
            f"{worst:.1e} | {ends[way]['memory']:.2f} GB | {busy} |",
            flush=True,
        )


def start(options: argparse.Namespace, method: str, way: str) -> subprocess.Popen[str]:
    """A runner, waiting to be asked."""
    words = [sys.executable, __file__, "--child", way, "--methods", method, "--folder", str(options.folder)]
    words += ["--dataset", str(options.dataset), "--device", options.device, "--steps", str(options.steps)]
    words += ["--patch", *map(str, options.patch), "--width", str(options.width), "--clock", options.clock]
    words += [
        *(["--norm", options.norm] if options.norm else []),
        *(["--threads", str(options.threads)] if options.threads else []),
    ]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# ------------------------------------------------------------------------------------------------ in the runners


def run_child(options: argparse.Namespace) -> None:
    """One way of training: a step for every line that says go."""
    import torch

    from fewmask.allocator import keep_freed_memory

    if options.threads:
        torch.set_num_threads(options.threads)
    plain = options.child == "plain"
    if not plain:
        keep_freed_memory()  # as the fewmask program does at its start
    job = make_job(options)
    answers, sys.stdout = sys.stdout, sys.stderr  # nobody else writes between the answers
    pause = Pause(options, answers)
    if plain:
        plain_loop(job, options, pause)
    else:
        fewmask_loop(job, options, pause)


class Pause:
    """What stands between two steps: answers how the last one went and waits for the next word."""

    def __init__(self, options: argparse.Namespace, answers: Any) -> None:
        self.answers, self.device, self.profile, self.asked = answers, options.device, None, 0
        self.clock: Callable[[], float] = time.process_time if options.clock == "cpu" else time.perf_counter
        self.began, self.steps = 0.0, options.steps
        self.busy: float | None = None

    def begin(self, done: int = 0, total: int = 0) -> None:
        """Ready for the first step."""
        self._answer({})

    def step(self, done: int, values: Mapping[str, float | str]) -> None:
        """A step is done."""
        self.after(float(values["loss"]))

    def after(self, loss: float) -> None:
        """The same, by its loss."""
        self._synchronise()
        self._answer({"loss": loss, "seconds": self.clock() - self.began})

    def _answer(self, values: dict[str, float]) -> None:
        print(json.dumps(values), file=self.answers, flush=True)
        if sys.stdin.readline().strip() != "go":
            self._profile_end()
            print(json.dumps({"memory": self._memory(), "busy": self.busy}), file=self.answers, flush=True)
            os._exit(0)
        self.asked += 1
        if self.device == "cuda" and self.asked == self.steps // 2 + 2:
            self._profile_begin()
        self._synchronise()
        self.began = self.clock()

    def _synchronise(self) -> None:
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()

    def _profile_begin(self) -> None:
        """The second half of the steps runs under the profiler, which slows the host down a little."""
        import torch

        kind = getattr(torch.profiler.ProfilerActivity, self.device.upper())
        self.profile = torch.profiler.profile(activities=[kind])
        self.profile.__enter__()

    def _profile_end(self) -> None:
        import torch

        if self.profile is None:
            return
        self.profile.__exit__(None, None, None)
        spans = sorted(
            (event.time_range.start, event.time_range.end)
            for event in self.profile.events()
            if event.device_type == getattr(torch.autograd.DeviceType, self.device.upper())
        )
        computed, until = 0.0, float("-inf")
        for first, last in spans:  # kernels may overlap
            computed += max(last - max(first, until), 0)
            until = max(until, last)
        self.busy = computed / (until - spans[0][0]) if spans else None

    def _memory(self) -> float:
        import resource

        import torch

        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() / 1e9
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def make_job(options: argparse.Namespace) -> Any:
    """The job as `fewmask train` assembles it; a row of the log at every step, so that losses can be compared."""
    from fewmask.config import load_experiment
    from fewmask.data.dataset import Dataset
    from fewmask.data.split import Split
    from fewmask.engine.job import assemble

    changes: dict[str, Any] = {
        "sampling": {"patch_size": list(options.patch), "workers": 1},
        "network": {"width": options.width, "norm": options.norm},
        "method": {"name": options.methods[0]},
        "train": {
            "iterations": 10**6,
            "log_every": 1,
            "checkpoint_every": 10**6,
            "accelerator": "gpu" if options.device == "cuda" else "cpu",
            "precision": "bf16" if "bf16" in options.child else "fp32",
            "memory_format": "contiguous" if "contiguous" in options.child else "auto",
        },
    }
    data = Dataset.open(options.dataset)
    train, others = data.ids("train"), data.ids("unlabelled")
    split = Split(labelled=train[:2], unlabelled=(others or train[2:])[:4])
    return assemble(load_experiment(changes=changes), data, split, options.folder / "store")


def fewmask_loop(job: Any, options: argparse.Namespace, pause: Pause) -> None:
    """The trainer itself."""
    import torch

    from fewmask.engine.fit import Trainer
    from fewmask.run_folder import RunFolder

    trainer = Trainer(job, RunFolder(options.folder / f"{options.methods[0]}-{options.child}"), pause)
    if "compiled" in options.child:
        trainer.model = torch.compile(trainer.model)
    trainer.fit()


def plain_loop(job: Any, options: argparse.Namespace, pause: Pause) -> None:
    """What a researcher writes around the same network and losses: eager, float32, contiguous, nothing set."""
    import torch

    from fewmask.methods.base import Progress, build_method

    config, device = job.experiment.train, torch.device(options.device)
    torch.manual_seed(config.seed)
    method = build_method(job.task, job.experiment.method, job.experiment.network).to(device).train()
    weights = [p for p in method.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(weights, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    pause.begin()
    for done, loaded in enumerate(plain_batches(job, options)):
        batch = loaded.map(lambda values: values.to(device))
        for group in optimiser.param_groups:
            group["lr"] = config.lr * (1 - done / config.iterations) ** config.poly_power
        torch.manual_seed(config.seed * 1_000_003 + done)  # the same dropout and noise
        progress = Progress(done, config.iterations)
        loss = method(batch, progress).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        method.after_step(progress)
        pause.after(loss.item())


def plain_batches(job: Any, options: argparse.Namespace) -> Iterator[Any]:
    """The same batches, cut out of gzip HDF5 volumes that are read whole, by one loader process."""
    from fewmask.data.sampling import batches

    stream = job.stream(job_phase())
    try:
        stream.source = Hdf5Source(job, options.folder / "hdf5")
    except ImportError:
        print("h5py is not installed: the plain loop reads from the store", file=sys.stderr)
    return batches(stream, 0, 10**6, 1)


def job_phase() -> Any:
    """The one phase of the methods raced here."""
    from fewmask.methods.base import Phase

    return Phase()


class Hdf5Source:
    """The prepared cases as the field keeps them: one gzip HDF5 file with image and label, read whole for each patch."""

    def __init__(self, job: Any, folder: Path) -> None:
        import h5py
        import numpy as np

        self.folder, self.store = folder, job.store
        folder.mkdir(exist_ok=True)
        for case in (*job.split.labelled, *job.split.unlabelled):
            if (folder / f"{case}.h5").exists():
                continue
            with h5py.File(folder / f"{case}.h5", "w") as file:
                image = np.array(self.store.image(case))
                label = (
                    np.array(self.store.label(case))
                    if case in job.split.labelled
                    else np.zeros(image.shape[1:], np.uint8)
                )
                file.create_dataset("image", data=image, compression="gzip")
                file.create_dataset("label", data=label, compression="gzip")

    def image(self, case: str) -> Any:
        """The volume ``(C, *S)``."""
        return self._read(case)[0]

    def label(self, case: str) -> Any:
        """Its label ``(*S)``; the file is read again only where another case came in between."""
        return self._read(case)[1]

    def foreground(self, case: str) -> Any:
        """As the store's."""
        return self.store.foreground(case)

    def _read(self, case: str) -> tuple[Any, Any]:
        import h5py

        if getattr(self, "last", (None,))[0] != case:
            with h5py.File(self.folder / f"{case}.h5") as file:
                self.last = (case, (file["image"][:], file["label"][:]))
        return self.last[1]


if __name__ == "__main__":
    main()
