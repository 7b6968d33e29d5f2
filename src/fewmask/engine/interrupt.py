"""Stopping a run from outside without losing it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from fewmask.errors import RunError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRunError(RunError):
    """The user stopped the run; its checkpoint is saved."""

    exit_code = 130


class Interruption:
    """Turns SIGINT, SIGTERM and SIGHUP into a wish that the loop looks at between two steps; a second signal stops at once.

    A hang-up that is ignored stays so: under ``nohup`` a training outlives its terminal.

    Outside the main thread, where Python allows no handlers, it does nothing.

    Attributes:
        requested: whether a signal came.
    """

    def __init__(self) -> None:
        self.requested = False
        self._at_once = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in (*SIGNALS, *_hang_up())}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Do not wait for the end of the block, which may be minutes away and of which nothing is lost.

        Raises:
            KeyboardInterrupt: a signal came, in the block or before it; it passes the handlers of ordinary errors.
        """
        self._at_once = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def stop(self, done: int, total: int) -> NoReturn:
        """Leave the loop.

        Raises:
            InterruptedRunError: always.
        """
        raise InterruptedRunError(
            f"stopped after {done} of {total} iterations, checkpoint saved: continue with --resume auto"
        )

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()
        if self._at_once:
            raise KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _hang_up() -> list[signal.Signals]:
    """SIGHUP, where there is one and nobody has asked to outlive it."""
    known = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGHUP] if known else []
