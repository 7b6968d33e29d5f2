"""What the forwards since the last row of ``metrics.csv`` logged, and which of them went wrong."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor


@dataclass
class Forward:
    """One forward pass of a turn.

    Attributes:
        iteration: the step of the run it belongs to, from 1.
        cases: the ids behind its patches.
        values: the loss, and then the method's logs, by column; tensors where they were made.
    """

    iteration: int
    cases: tuple[str, ...]
    values: dict[str, Tensor | float]

    def settle(self) -> None:
        """Fetch the values from their device."""
        self.values = {name: float(value) for name, value in self.values.items()}

    def wrong(self) -> list[str]:
        """The columns that are not finite, the loss first; none where the loss is finite. Settle first."""
        loss = next(iter(self.values))
        if math.isfinite(self.values[loss]):
            return []
        return [name for name, value in self.values.items() if not math.isfinite(value)]

    def __str__(self) -> str:
        loss, *terms = self.wrong()
        others = f" (as are {', '.join(terms)})" if terms else ""
        return f"{loss} became {self.values[loss]}{others} at iteration {self.iteration}"


class Tally:
    """The forwards since the last row.

    They are kept one by one until the row, so that no step waits for a device, and yet the first broken one can be named.

    Attributes:
        forwards: themselves.
        suspects: the cases of the last forward.
    """

    def __init__(self) -> None:
        self.forwards: list[Forward] = []
        self.suspects: tuple[str, ...] = ()
        self._checked = 0

    def add(self, forward: Forward) -> None:
        """Keep one more."""
        self.forwards.append(forward)
        self.suspects = forward.cases

    def broken(self) -> Forward | None:
        """The first forward whose loss is not finite; each is looked at once."""
        fresh, self._checked = self.forwards[self._checked :], len(self.forwards)
        for forward in fresh:
            forward.settle()
            if forward.wrong():
                return forward
        return None

    def sums(self) -> dict[str, tuple[float, int]]:
        """Of each column the sum and the number of the forwards that have it."""
        columns: dict[str, list[float]] = {}
        for forward in self.forwards:
            forward.settle()
            for name, value in forward.values.items():
                columns.setdefault(name, []).append(float(value))
        return {name: (sum(values), len(values)) for name, values in columns.items()}

    def clear(self) -> None:
        """Begin the next row."""
        self.forwards, self._checked = [], 0

    def state(self) -> list[dict[str, Any]]:
        """Plain values from which `restore` goes on, so that the next row of a resumed run is that of an undisturbed one."""
        for forward in self.forwards:
            forward.settle()
        return [asdict(forward) for forward in self.forwards]

    def restore(self, saved: list[dict[str, Any]]) -> None:
        """Go on from a `state`."""
        self.forwards = [Forward(**values) for values in saved]
