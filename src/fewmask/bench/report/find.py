"""Which run folders a report is of: the jobs of a suite, or whatever lies below a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fewmask.bench.jobs import expand
from fewmask.bench.report.content import BenchRun, is_scored
from fewmask.bench.suite import Suite
from fewmask.errors import ConfigError, RunError
from fewmask.run_folder import RunFolder
from fewmask.words import count

SEED = re.compile(r"(?P<label>.+)-seed\d+")


@dataclass(frozen=True)
class Found:
    """Runs, what is to be told of those that are not there, and the suite's baseline where it has scores."""

    runs: tuple[BenchRun, ...]
    remarks: tuple[str, ...] = ()
    baseline: str | None = None


def runs_of_suite(suite: Suite, output: Path) -> Found:
    """The runs of a suite that were begun under its present settings.

    Raises:
        ConfigError: the suite is not valid.
    """
    jobs = expand(suite, output)
    begun = [job for job in jobs if RunFolder(job.folder).started]
    runs, remarks = [], []
    for job in begun:
        try:
            job.check_same()
        except (ConfigError, RunError) as error:
            remarks.append(f"{job.place} is left out: {error}.")
            continue
        if job.summary.is_file() and not job.scored:
            remarks.append(
                f"{job.place} is left out: it was scored without {', '.join(job.also)}; bench run scores it again."
            )
            continue
        runs.append(BenchRun(job.folder, job.place.label, job.place.data))
    if len(begun) < len(jobs):
        remarks.insert(0, f"{len(jobs) - len(begun)} of {count(len(jobs), 'run')} of the suite have not begun.")
    baseline = suite.baseline if any(run.label == suite.baseline and is_scored(run.path) for run in runs) else None
    if runs and baseline != suite.baseline:
        remarks.append(f"The baseline of the suite, {suite.baseline}, has no scores yet.")
    return Found(tuple(runs), tuple(remarks), baseline)


def runs_below(folder: Path) -> Found:
    """All run folders below a folder; ``LABEL-seed0`` gives its label, any other name is one.

    Raises:
        RunError: there is none.
    """
    runs = [BenchRun(path, _label(path)) for path in _run_folders(folder)]
    if not runs:
        raise RunError(
            f"{folder} holds no run folder: give the output of fewmask bench run, or a folder of run folders"
        )
    return Found(tuple(runs))


def _label(path: Path) -> str:
    match = SEED.fullmatch(path.name)
    return match["label"] if match else path.name


def _run_folders(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        if "config.yaml" in files:
            folders.clear()
            yield Path(path)
