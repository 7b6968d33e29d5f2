"""Several processes that train one model: who starts them, what they tell each other, which one writes.

Gradients travel through torch's data-parallel wrapper. Everything else that the processes must agree on (a wish to stop, an error, the
numbers of a row of the log, the validation scores) goes through a group of its own on the CPU, so that it costs no wait for the GPU and
notices at once when a process dies.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from fewmask.config import TrainConfig
from fewmask.errors import ConfigError, FewmaskError, FollowerError, RunError

T = TypeVar("T")
PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
PATIENCE = timedelta(days=2)  # one process prepares a large data set while the others wait
_LOST = ("gloo", "Connection closed", "Connection reset", "connection was", "Broken pipe")


def launched() -> tuple[int, int] | None:
    """Processes per node and nodes, where torchrun or srun started this one among others; else None."""
    if dist.is_torchelastic_launched():
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return local, max(world // local, 1)
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if tasks > 1 and "SLURM_PROCID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        if "SLURM_NTASKS_PER_NODE" not in os.environ or tasks % nodes:
            raise ConfigError(
                f"Slurm started {tasks} tasks on {nodes} nodes without --ntasks-per-node: give it to sbatch, with one task a GPU"
            )
        return tasks // nodes, nodes
    return None


def is_follower() -> bool:
    """Whether another process of the same training prints and writes; known before the processes have met."""
    return any(int(os.environ.get(name) or 0) > 0 for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def resolve_processes(config: TrainConfig) -> TrainConfig:
    """The config with ``devices`` and ``nodes`` as torchrun or srun have them.

    Raises:
        ConfigError: the config asks for other numbers; or for several nodes, but this process was started alone.
    """
    found = launched()
    if found is None:
        if config.nodes > 1 and "NODE_RANK" not in os.environ:
            raise ConfigError(
                f"train.nodes is {config.nodes}, but this process was started alone: start one a GPU with torchrun or srun, "
                "which say how many nodes there are"
            )
        return config
    if config.devices not in (1, found[0]) or config.nodes not in (1, found[1]):
        raise ConfigError(
            f"train.devices is {config.devices} and train.nodes {config.nodes}, but {found[0]} processes were started on each "
            f"of {found[1]} nodes: leave both settings out"
        )
    return config.model_copy(update={"devices": found[0], "nodes": found[1]})


def make_fabric(config: TrainConfig) -> Any:
    """Devices, processes and precision.

    Raises:
        ConfigError: more GPUs are asked for than there are, or fp16 on a CPU.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.accelerator == "gpu" and not gpus:
        raise ConfigError(
            "train.accelerator is gpu, but torch sees no GPU: use auto or cpu, or install a CUDA build of torch"
        )
    on_cpu = config.accelerator == "cpu" or not gpus
    if on_cpu and config.precision == "fp16":
        raise ConfigError("train.precision fp16 needs a GPU: on a CPU use fp32, or bf16 for speed")
    most = max(os.cpu_count() or 1, 2)
    if on_cpu and config.devices > most:
        raise ConfigError(f"train.devices is {config.devices}, but this machine has no GPU: ask for at most {most}")
    if not on_cpu and config.devices > gpus:
        raise ConfigError(f"train.devices is {config.devices}, but torch sees {gpus} GPUs: ask for as many")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces every process
    several = config.devices * config.nodes > 1
    fabric = Fabric(
        accelerator="cpu" if on_cpu else "gpu",
        devices=config.devices,
        num_nodes=config.nodes,
        precision=PRECISIONS[config.precision],
        strategy="ddp_find_unused_parameters_true" if several else "auto",  # a turn may leave networks out
        # A batch script's single task looks like srun's to lightning, which would then start no further process.
        plugins=LightningEnvironment() if several and launched() is None else None,
    )
    fabric.launch()
    return fabric


class Team:
    """The processes of a training; a single one is a team too, and then nothing here costs anything.

    Args:
        fabric: launched.

    Attributes:
        rank: this process's place among ``world``.
        world: how many there are.
    """

    def __init__(self, fabric: Any) -> None:
        self.fabric = fabric
        self.rank, self.world = int(fabric.global_rank), int(fabric.world_size)
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE) if self.world > 1 else None

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Everybody's value, in order of rank."""
        values: list[Any] = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(values, value, group=self._group)
        return values

    def any(self, flag: bool) -> bool:
        """Whether anybody's flag is set."""
        if self.world == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX, group=self._group)
        return bool(flags)

    def together(self, work: Callable[[], T], *, one_by_one: bool = False) -> T:
        """Do the same in all processes; where it fails in one, it fails in all, and one of them says why.

        Args:
            work: what to do.
            one_by_one: the main process first, then the first of every node, then the others. Files that the earlier ones
                write are there for the later ones, whether the nodes share a disk or not.

        Raises:
            FewmaskError: that of the first process that failed, in that process; `FollowerError` in the others.
        """
        mine = (0 if self.is_main else 1 if self.fabric.local_rank == 0 else 2) if one_by_one else 0
        results: list[T] = []
        for stage in range(3 if one_by_one and self.world > 1 else 1):
            error: FewmaskError | None = None
            try:
                results += [work()] if stage == mine else []
            except FewmaskError as problem:
                error = problem
            failed = [rank for rank, wrong in enumerate(self.gather(error is not None)) if wrong]
            if failed:
                raise error if error is not None and failed[0] == self.rank else FollowerError() from None
        return results[0]

    def agreed(self, error: FewmaskError) -> FewmaskError:
        """What to raise where all processes know of the same error: it in the main one, `FollowerError` in the others.

        It comes back when all have arrived. Launchers end everything as soon as one process fails, and the main one may still be
        writing.
        """
        self.gather(None)
        return error if self.is_main else FollowerError()

    def share_buffers(self, module: nn.Module) -> None:
        """The main process's buffers (running statistics) for all, as the wrapper does at the start of every forward."""
        if self.world > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turns the many ways in which torch says that another process is gone into one sentence.

        Raises:
            RunError: another process of the training ended.
        """
        try:
            yield
        except RuntimeError as error:
            if self.world == 1 or not (isinstance(error, dist.DistError) or any(word in str(error) for word in _LOST)):
                raise
            raise RunError(
                f"process {self.rank} of {self.world} lost another process of this training: that one's message says why; "
                "continue from the last checkpoint with --resume auto"
            ) from error


def pooled_means(parts: Sequence[Mapping[str, tuple[float, int]]]) -> dict[str, float]:
    """Means over all processes from each one's sums and counts by name; a name may be missing in some."""
    totals: dict[str, tuple[float, int]] = {}
    for part in parts:
        for name, (value, count) in part.items():
            before = totals.get(name, (0.0, 0))
            totals[name] = (before[0] + value, before[1] + count)
    return {name: value / count for name, (value, count) in totals.items()}
