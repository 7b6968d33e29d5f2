"""Starting a job's process, wherever an executor calls: it has threads and GPUs of its own, and ends when its starter does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from fewmask.bench.notes import BUSY, FAILED, LOG, STOPPED, Notes
from fewmask.locks import is_locked
from fewmask.places import open_own
from fewmask.safe_path import without_current_folder

POLL = 0.2  # seconds
_children: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Share:
    """What of a machine a job may use.

    Attributes:
        jobs: that run there at once.
        threads: of each of its processes; None: the cores divided by the processes.
        gpus: those that it sees, as ``CUDA_VISIBLE_DEVICES`` has them; None: as the machine has it.
    """

    jobs: int = 1
    threads: int | None = None
    gpus: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        status: ``busy``: another process is at it.
        error: one sentence, where it failed.
    """

    status: Literal["done", "failed", "stopped", "busy"]
    error: str = ""


def run_job(notes: str, devices: int, share: Share, stop: str) -> Outcome:
    """Do a job in a process of its own and wait for its end; what every executor submits.

    Args:
        notes: folder with the job's order; see `fewmask.bench.work`.
        devices: processes that train it.
        share: of the machine.
        stop: a file; when it appears, the job saves a checkpoint and ends.
    """
    folder = Path(notes)
    if Path(stop).exists():
        return Outcome("stopped")
    if is_locked(folder):  # its own process asks once more, but takes seconds to start
        return Outcome("busy")
    with open_own(folder / LOG, "ab") as log:
        child = _start(folder, _environment(share, devices), log)
        _children.add(child)
        try:
            asked = _wait(child, Path(stop))
        finally:  # also where this process is told to end
            _stop(child)
            _children.discard(child)
    return _outcome(child.returncode, folder, asked=asked)


def stop_children() -> None:
    """Let every job of this process save a checkpoint and end."""
    for child in tuple(_children):
        _stop(child)


def _start(folder: Path, environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "fewmask.bench.work", str(folder)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,  # Ctrl-C reaches it through its standard input, and once only
    )


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _environment(share: Share, devices: int) -> dict[str, str]:
    threads = share.threads or max(cores() // (share.jobs * devices), 1)
    environment = {
        **without_current_folder(os.environ),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }
    if share.gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(share.gpus)
    return environment


def _wait(child: subprocess.Popen[bytes], stop: Path) -> bool:
    """Wait for its end; whether it was asked for."""
    asked = False
    while True:
        try:
            child.wait(POLL)
        except subprocess.TimeoutExpired:
            if not asked and stop.exists():
                _close(child)
                asked = True
        else:
            return asked


def _stop(child: subprocess.Popen[bytes]) -> None:
    _close(child)
    child.wait()


def _close(child: subprocess.Popen[bytes]) -> None:
    if child.stdin:
        with contextlib.suppress(OSError):
            child.stdin.close()


def _outcome(code: int, folder: Path, *, asked: bool) -> Outcome:
    if code == 0:
        return Outcome("done")
    if code == BUSY:
        return Outcome("busy")
    if code == STOPPED or asked:
        return Outcome("stopped")
    notes = Notes.read(folder)
    if code != FAILED or notes.status != "failed":
        cause = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = "; the machine may be out of memory" if code == -9 else ""
        notes = replace(notes, status="failed", error=f"its process {cause}{hint}; see {folder / LOG}")
        notes.write(folder)
    return Outcome("failed", notes.error)
