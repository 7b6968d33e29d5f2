"""Where jobs run: processes of this machine, Slurm, or a Dask cluster, all behind `concurrent.futures.Executor`."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from fewmask.bench.launch import Outcome, Share, cores, run_job, stop_children
from fewmask.errors import ConfigError
from fewmask.places import inside

Kind = Literal["local", "slurm", "dask"]
CORES_A_JOB = 4
UNLIMITED = 10_000
TIME_LIMIT = 720  # minutes of a job of Slurm's, which is queued again when they are up
QUEUED_AGAIN = 100  # times
GENERAL = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node")
"""submitit's options for every kind of cluster; those of ``sbatch`` alone have a prefix there."""
PATIENCE = 20.0  # seconds to wait for a scheduler's answer
PAUSE = 1.0  # seconds between two looks at Slurm's queue


class Pool:
    """An executor, and what of it is free.

    Args:
        executor: takes the jobs.
        limit: jobs at once.
        share: of a machine that each has.
        gpus: ids that are dealt out, an id as often as jobs may share it; None: the executor's machines see to that.
        at_once: jobs that run at the same time, as far as one knows; for estimates.
        call: None: `run_job`.
        queued: whether jobs may stand in a queue, from which they must be taken when the work is to end.
    """

    def __init__(
        self,
        executor: Executor,
        limit: int,
        share: Share,
        gpus: list[str] | None = None,
        *,
        at_once: int | None = None,
        call: Callable[..., Outcome] | None = None,
        queued: bool = False,
    ) -> None:
        self.executor, self.limit, self.share, self.call, self.queued = executor, limit, share, call or run_job, queued
        self.at_once = at_once or limit
        self._free = gpus
        self._kinds = len(set(gpus or ()))
        self._running: dict[Future[Outcome], tuple[str, ...]] = {}

    def has_room(self, devices: int) -> bool:
        """Whether a job that so many processes train can begin now."""
        return len(self._running) < self.limit and self._take(devices) is not None

    def submit(self, notes: Path, devices: int, stop: Path) -> Future[Outcome] | None:
        """Begin a job; None where there is no room for it now.

        Args:
            notes: folder with its order.
            devices: processes that train it.
            stop: see `run_job`.
        """
        if not self.has_room(devices):
            return None
        gpus = self._take(devices) or ()
        share = replace(self.share, gpus=gpus) if self._free is not None else self.share
        future = self.executor.submit(self.call, str(notes.resolve()), devices, share, str(stop.resolve()))
        self._running[future] = gpus
        for gpu in gpus:
            assert self._free is not None
            self._free.remove(gpu)
        return future

    def leave_queue(self) -> None:
        """Take away what has not begun; the others see the file ``stop``."""
        for future in tuple(self._running) if self.queued else ():
            future.cancel()

    def release(self, future: Future[Outcome]) -> None:
        """What an ended job had is free again."""
        gpus = self._running.pop(future)
        if self._free is not None:
            self._free.extend(gpus)

    def _take(self, devices: int) -> tuple[str, ...] | None:
        """Different GPUs for a job, those that most places are free on; none to deal out: an empty tuple."""
        if self._free is None:
            return ()
        wanted = min(devices, self._kinds)  # a training that wants more says so itself
        found = tuple(gpu for gpu, _ in Counter(self._free).most_common(wanted))
        return found if len(found) == wanted else None


@contextlib.contextmanager
def local_pool(jobs: int | None = None, threads: int | None = None) -> Iterator[Pool]:
    """Processes of this machine: one a GPU where there are GPUs, else one for every four cores.

    Args:
        jobs: at once, instead.
        threads: of each; None: the cores divided by the jobs.
    """
    gpus = visible_gpus()
    jobs = jobs or len(gpus) or max(cores() // CORES_A_JOB, 1)
    dealt = [gpus[number % len(gpus)] for number in range(max(jobs, len(gpus)))] if gpus else None
    with ThreadPoolExecutor(jobs, "job") as executor:  # a thread waits for a process
        yield Pool(executor, jobs, Share(jobs, threads), dealt)


def visible_gpus() -> list[str]:
    """The ids of this machine's GPUs, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:  # CUDA sees those before the first that is none
        return list(takewhile(lambda gpu: gpu not in ("", "-1"), map(str.strip, named.split(","))))
    import torch

    return [str(number) for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)]


@contextlib.contextmanager
def dask_pool(address: str, jobs: int | None = None, threads: int | None = None) -> Iterator[Pool]:
    """The workers of a Dask cluster that runs already; each takes as many jobs as it has threads.

    A job whose worker dies is given to another one by the scheduler.

    Args:
        address: of the scheduler, such as ``tcp://node1:8786``.
        jobs: at once; None: as many as the workers take.
        threads: of each job's processes; None: the machine's cores divided by the jobs that run there.

    Raises:
        ConfigError: Dask is not installed, nothing answers at the address, or there is no worker.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError("--executor dask needs Dask: pip install 'fewmask[dask]'") from None
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError):
        raise ConfigError(
            f"no Dask scheduler answers at {address}: check --address, such as tcp://node1:8786"
        ) from None
    with client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if not workers:
            raise ConfigError(f"the Dask scheduler at {address} has no workers: start some with dask worker {address}")
        on_machine: Counter[str] = Counter()
        for worker in workers:
            on_machine[worker["host"]] += worker["nthreads"]
        share = Share(max(on_machine.values()), threads)
        executor = client.get_executor(pure=False)
        yield Pool(executor, jobs or UNLIMITED, share, at_once=jobs or on_machine.total())
        executor.shutdown(wait=False)


@contextlib.contextmanager
def slurm_pool(
    folder: Path, options: Mapping[str, Any], jobs: int | None = None, threads: int | None = None
) -> Iterator[Pool]:
    """Slurm, through submitit: every job is a job of Slurm's, too.

    Args:
        folder: for submitit's scripts and logs, on a disk that all nodes see; each call has a folder of its own in it.
        options: of ``sbatch`` by name, such as ``partition``, ``gpus_per_node``, ``timeout_min``; ``cluster=local`` does without Slurm.
        jobs: in the queue at once; None: all that can begin.
        threads: of each job's processes; None: the cores that Slurm gives it.

    Raises:
        ConfigError: submitit or Slurm is not there, or an option is unknown.
    """
    own = inside(folder, uuid.uuid4().hex[:12])  # new: submitit unpickles what it finds under a job's number
    with SubmititExecutor(own, options) as executor:
        yield Pool(executor, jobs or UNLIMITED, Share(1, threads), at_once=jobs, call=SlurmJob(), queued=True)


class SlurmJob:
    """`run_job` for Slurm: before the time is up the training saves a checkpoint, and the job is put into the queue again."""

    def __call__(self, notes: str, devices: int, share: Share, stop: str) -> Outcome:
        """See `run_job`; Slurm says how many cores there are where it does not bind the job to them."""
        given = os.environ.get("SLURM_CPUS_PER_TASK")
        if given and share.threads is None:
            share = replace(share, threads=max(int(given) // devices, 1))
        return run_job(notes, devices, share, stop)

    def checkpoint(self, *arguments: Any) -> Any:
        """What submitit calls when Slurm wants the machine back."""
        from submitit.helpers import DelayedSubmission

        stop_children()
        return DelayedSubmission(self, *arguments)


class SubmititExecutor(Executor):
    """submitit's executor with futures of `concurrent.futures`.

    Args:
        folder: for scripts and logs.
        options: see `slurm_pool`.

    Raises:
        ConfigError: see `slurm_pool`.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        try:
            import submitit
        except ImportError:
            raise ConfigError("--executor slurm needs submitit: pip install 'fewmask[slurm]'") from None
        options = dict(options)
        try:
            cluster = options.pop("cluster", "slurm")
            python = f"{shlex.quote(sys.executable)} -P"  # or it would look for code in the folder that one stands in
            self._inner = submitit.AutoExecutor(
                folder, cluster=cluster, slurm_max_num_timeout=QUEUED_AGAIN, slurm_python=python, local_python=python
            )
            named = {key if key in GENERAL else f"slurm_{key.removeprefix('slurm_')}": options[key] for key in options}
            self._inner.update_parameters(**{"name": "fewmask", "timeout_min": TIME_LIMIT, **named})
        except Exception as error:
            raise ConfigError(f"submitit: {' '.join(str(error).split())[:300]}; check --slurm") from None
        self._jobs: dict[Future[Any], Any] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Put a call into Slurm's queue."""
        future: Future[Any] = Future()
        job = self._inner.submit(fn, *args, **kwargs)
        with self._lock:
            self._jobs[future] = job
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; take what has not begun out of the queue if asked."""
        with self._lock:
            jobs = list(self._jobs)
        for future in jobs if cancel_futures else ():
            future.cancel()
        self._closing = True
        if wait:
            self._watcher.join()

    def _watch(self) -> None:
        while True:
            with self._lock:
                jobs = dict(self._jobs)
            for future, job in jobs.items():
                if self._settled(future, job):
                    with self._lock:
                        del self._jobs[future]
            if self._closing and not self._jobs:
                return
            time.sleep(PAUSE)

    @staticmethod
    def _settled(future: Future[Any], job: Any) -> bool:
        if future.cancelled():
            with contextlib.suppress(RuntimeError):  # it was told in the moment in which the job began
                future.set_running_or_notify_cancel()  # or nobody who waits for it would ever hear
            job.cancel()
            return True
        if not job.done():
            if job.state == "RUNNING" and not future.running():
                future.set_running_or_notify_cancel()
            return False
        if future.running() or future.set_running_or_notify_cancel():
            try:
                future.set_result(job.result())
            except Exception as error:
                future.set_exception(error)
        return True
