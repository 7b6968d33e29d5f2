"""The console that prints names as they are: no markup in them, no terminal escapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from fewmask.names import shown


class PlainConsole(Console):
    """A rich console for text that comes from files.

    Square brackets are not markup and ``:smile:`` stays what it is; escape sequences are printed as their codes.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Rich's own rendering, with the text of every segment made harmless; control segments are rich's."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)
