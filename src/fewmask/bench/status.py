"""How far a comparison is, and how long it will still take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import time
from typing import TYPE_CHECKING, Any, Literal

from fewmask.bench.jobs import Job
from fewmask.bench.notes import LOG, Notes
from fewmask.engine.loggers import read_metrics
from fewmask.errors import ConfigError, RunError, WriteError
from fewmask.locks import is_locked
from fewmask.run_folder import RunFolder
from fewmask.words import duration

if TYPE_CHECKING:
    from rich.table import Table

Status = Literal["done", "running", "failed", "stopped", "waiting", "blocked", "other"]
LEFT: tuple[Status, ...] = ("running", "stopped", "waiting")


@dataclass(frozen=True)
class JobState:
    """How a job stands.

    Attributes:
        job: which.
        status: ``stopped``: begun and not at work; ``waiting``: not begun; ``blocked``: the run that it starts from failed; ``other``:
            the run folder was made with other settings.
        seconds: of work so far; None: unknown.
        iteration: the last one in its log.
        error: why it failed, or what differs.
    """

    job: Job
    status: Status
    seconds: float | None = None
    iteration: int | None = None
    error: str = ""


def look(jobs: Sequence[Job], *, compare: bool = True) -> list[JobState]:
    """The states of jobs, from their folders; no process is asked.

    Args:
        jobs: all of a suite.
        compare: whether the run folders were made with the suite's settings; takes a moment for each.
    """
    states = {job.folder.resolve(): _look(job, compare) for job in jobs}
    return [_blocked(state, states) for state in states.values()]


def _look(job: Job, compare: bool) -> JobState:
    notes, rows = Notes.read(job.notes), _rows(job)
    iteration = int(rows[-1]["iteration"]) if rows else None
    try:
        if compare:
            job.check_same()
    except (ConfigError, RunError) as error:
        return JobState(job, "other", error=str(error))
    if job.scored:
        return JobState(job, "done", notes.seconds or _seconds(rows), iteration)
    if at_work(job.notes):
        return JobState(
            job, "running", notes.seconds + max(time() - notes.began, 0), iteration
        )  # clocks of two machines
    if notes.status == "failed":
        return JobState(job, "failed", notes.seconds, iteration, notes.error)
    if notes.status or RunFolder(job.folder).started:
        return JobState(job, "stopped", notes.seconds or _seconds(rows), iteration)
    return JobState(job, "waiting")


def _rows(job: Job) -> list[dict[str, str]]:
    try:
        return read_metrics(RunFolder(job.folder).metrics)
    except RunError:
        return []


def _seconds(rows: Sequence[dict[str, str]]) -> float | None:
    return float(rows[-1].get("seconds") or 0) or None if rows else None


def at_work(notes: Path) -> bool:
    """Whether a process holds the job."""
    if not notes.is_dir():
        return False
    try:
        return is_locked(notes)
    except WriteError:  # one may look without the right to write
        return Notes.read(notes).status == "running"


def _blocked(state: JobState, states: dict[Path, JobState]) -> JobState:
    for folder in state.job.starts_from.values():
        if state.status == "waiting" and folder in states and states[folder].status in ("failed", "other"):
            why = f"it starts from {states[folder].job.place}, which failed"
            return JobState(state.job, "blocked", error=why)
    return state


def time_left(states: Sequence[JobState], at_once: int | None = None) -> float | None:
    """Seconds until all is done, from the mean of the done jobs of the same method on the same data; None where there are none.

    Where a method has none yet, all done jobs stand for it.

    Args:
        states: of all jobs.
        at_once: how many run at the same time; None: as many as do now.
    """
    kinds: dict[tuple[str, str], list[float]] = {}
    for state in states:
        if state.status == "done" and state.seconds:
            kinds.setdefault((state.job.place.data, state.job.place.label), []).append(state.seconds)
    left = [state for state in states if state.status in LEFT]
    if not left:
        return 0.0
    if not kinds:
        return None
    anything = fmean(seconds for known in kinds.values() for seconds in known)
    needed = [
        max(fmean(kinds.get((state.job.place.data, state.job.place.label), [anything])) - (state.seconds or 0), 0)
        for state in left
    ]
    running = sum(state.status == "running" for state in states)
    lanes = min(at_once or max(running, 1), len(left))
    return max(sum(needed) / lanes, *needed)


def status_values(states: Sequence[JobState]) -> dict[str, Any]:
    """Everything as plain values, for programs."""
    counts = Counter(state.status for state in states)
    return {
        "jobs": len(states),
        **{status: counts[status] for status in ("done", *LEFT, "failed", "blocked", "other")},
        "seconds_left": time_left(states),
        "runs": [
            {
                "run": str(state.job.place),
                "folder": str(state.job.folder),
                "log": str(state.job.notes / LOG),
                "status": state.status,
                "seconds": state.seconds,
                "iteration": state.iteration,
                "error": state.error,
            }
            for state in states
        ],
    }


def status_table(states: Sequence[JobState], title: str) -> Table:
    """One row a data set, labelled count and method, for the console."""
    from rich.table import Table

    table = Table("data", "labelled", "method", "runs", title=title)
    for heading in ("a run takes", "left"):
        table.add_column(heading, justify="right")
    groups: dict[tuple[str, str, str], list[JobState]] = {}
    for state in states:
        place = state.job.place
        groups.setdefault((place.data, place.labelled, place.label), []).append(state)
    before: tuple[str, str] | None = None
    for (data, labelled, label), group in groups.items():
        same = before == (data, labelled)
        before = (data, labelled)
        done = [state.seconds for state in group if state.status == "done" and state.seconds]
        left = [state for state in group if state.status in LEFT]
        takes = duration(fmean(done)) if done else "–"
        table.add_row(
            *(("", "") if same else before),
            label,
            _counts(group),
            takes,
            duration(time_left(_with_kin(group, states))) if left else "",
        )
    return table


def _with_kin(group: Sequence[JobState], states: Sequence[JobState]) -> list[JobState]:
    """A group's own jobs, and what is done elsewhere to judge them by."""
    return [*group, *(state for state in states if state.status == "done" and state not in group)]


def _counts(group: Sequence[JobState]) -> str:
    counts = Counter(state.status for state in group)
    words = [f"{number} {'with other settings' if status == 'other' else status}" for status, number in counts.items()]
    return ", ".join(words)
