"""What is written down about a job beside its run folder: how it stands, how long it took, why it failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from fewmask.files import read_json, write_json

STATE = "state.json"
LOG = "log.txt"
FAILED, BUSY, STOPPED = 70, 75, 130
"""Exit codes of a job's process: the reason is in the notes (1 is what Python ends with where there is none); another process is at it; it
was asked to stop."""


@dataclass(frozen=True)
class Notes:
    """The state of a job as its process last wrote it.

    Attributes:
        status: ``running``, ``done``, ``failed`` or ``stopped``; empty: never begun.
        seconds: of work, over all attempts.
        began: the last attempt, in seconds since 1970.
        where: machine and process.
        error: one sentence, where it failed.
    """

    status: str = ""
    seconds: float = 0.0
    began: float = 0.0
    where: str = ""
    error: str = ""

    def write(self, folder: Path) -> None:
        """Keep them, in one step.

        Raises:
            WriteError: the folder cannot be written.
        """
        write_json(folder / STATE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Notes:
        """Those of a folder; empty ones where there are none, or none that can be read."""
        try:
            values = read_json(folder / STATE)
            return cls(**{name: kind(values[name]) for name, kind in _KINDS.items()})
        except (OSError, ValueError, TypeError, KeyError):
            return cls()


_KINDS = {"status": str, "seconds": float, "began": float, "where": str, "error": str}
