"""Progress on the terminal; in a log file, a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fewmask.cli.console import console
from fewmask.cli.streams import Lasting
from fewmask.words import duration

LINES_IN_A_LOG = 20


@contextmanager
def counting(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar over cases: the block gets a function of cases done and cases in all."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = console(stderr=True)
    if quiet or not terminal.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


class TrainingBar:
    """Iterations, time left, losses and the last validation Dice.

    Args:
        quiet: show nothing.
        log: a file that gets the lines which the terminal no longer takes.
    """

    def __init__(self, *, quiet: bool = False, log: Path | None = None) -> None:
        self.quiet, self.log = quiet, log
        self.stream = sys.stderr if isinstance(sys.stderr, Lasting) else None  # a bar takes its place while it is shown
        self.terminal = console(stderr=True)
        self.values: dict[str, float | str] = {}
        self.bar: Any = None
        self.total = self.first = 0
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def begin(self, done: int, total: int) -> None:
        """Show the bar at ``done`` of ``total``."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.total, self.first, self.began, self.values = total, done, time.monotonic(), {}
        if self.stream:
            self.stream.log = self.log
        if self.quiet or not self.terminal.is_terminal:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        self.bar = Progress(*columns, console=self.terminal)
        self.bar.start()
        self.task = self.bar.add_task("training", total=total, completed=done, numbers="")

    def step(self, done: int, values: Mapping[str, float | str]) -> None:
        """Move the bar; show new numbers."""
        self.values |= values
        if self.bar:
            self.bar.update(self.task, completed=done, numbers=self._numbers())
            if done == self.total:
                self.bar.stop()
            if self.stream and self.stream.broken:
                self.bar.stop()
                self.bar = None  # lines from here on, for the log
        if not (self.bar or self.quiet) and (done == self.total or done % max(self.total // LINES_IN_A_LOG, 1) == 0):
            left = (time.monotonic() - self.began) / max(done - self.first, 1) * (self.total - done)
            self.terminal.print(
                f"iteration {done}/{self.total}  {self._numbers()}  {duration(left)} left", soft_wrap=True
            )

    def _numbers(self) -> str:
        shown = {
            name: value for name, value in self.values.items() if "loss" in name.split("/")[-1] or name == "val_dice"
        }
        return "  ".join(f"{name} {value:.3f}" for name, value in list(shown.items())[-4:] if isinstance(value, float))
