"""Who hears how a training goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Listener(Protocol):
    """Hears how the training goes; the command line draws a progress bar from it."""

    def begin(self, done: int, total: int) -> None:
        """Training starts, or continues after ``done`` of ``total`` steps."""

    def step(self, done: int, values: Mapping[str, float | str]) -> None:
        """After each step; ``values`` is not empty where a row was logged."""


class Silent:
    """A listener that says nothing."""

    def begin(self, done: int, total: int) -> None:
        """Nothing."""

    def step(self, done: int, values: Mapping[str, float | str]) -> None:
        """Nothing."""
