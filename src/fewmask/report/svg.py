"""Matplotlib figures as SVG that belongs to the page: its font, its colours, its light and its dark."""

from __future__ import annotations

import io
import re
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

# Figures are drawn in colours that nobody uses; in the SVG these become the page's variables, which differ by light and dark.
INK, DIM, GRID, PAPER = "#0f0e01", "#0f0e02", "#0f0e03", "#0f0e04"
_VARIABLES = {INK: "--ink", DIM: "--dim", GRID: "--line", PAPER: "--card"}
COLOURS = 12  # the page defines --run-0 to --run-11
FONT_SIZE = 10.5


def run_colour(index: int) -> str:
    """The colour of a run, to draw with."""
    return f"#0d0c{index % COLOURS:02x}"


def run_kind(index: int) -> int:
    """0, 1 or 2: from the thirteenth run on colours come again, and lines and markers are of another kind."""
    return index // COLOURS % 3


def run_style(index: int) -> Any:
    """How lines of a run are drawn: whole, dashed or dotted."""
    return ("-", (0, (4, 2)), (0, (1, 1.5)))[run_kind(index)]


def run_marker(index: int) -> str:
    """How points of a run are drawn: round, a diamond or a triangle."""
    return ("o", "D", "^")[run_kind(index)]


def new_axes(width: float, height: float, margins: tuple[float, float, float, float]) -> tuple[Any, Any]:
    """A figure with one plain pair of axes; 1 point is 1 CSS pixel where the figure is shown at its own width.

    Args:
        width: points.
        height: points.
        margins: left, bottom, right and top of the axes, points.
    """
    from matplotlib.figure import Figure

    left, bottom, right, top = margins
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    axes = figure.add_axes(box)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GRID)
    axes.tick_params(length=0, pad=5, labelsize=FONT_SIZE, labelcolor=DIM)
    axes.set_axisbelow(True)
    return figure, axes


def to_markup(figure: Any, name: str, label: str) -> Markup:
    """The figure as an inline SVG element.

    Args:
        figure: drawn with the colours of this module.
        name: unique on the page; opens every id in the SVG.
        label: what the figure shows, for those who hear the page.
    """
    import matplotlib as mpl

    text = io.StringIO()
    # Text stays text, in the page's font; the salt makes the ids, and so the page, the same at every run.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    element = text.getvalue()
    element = element[element.index("<svg") :]
    size = re.search(r'viewBox="([^"]+)"', element)
    opening = f'<svg viewBox="{size[1] if size else ""}" role="img" aria-label="{escape(label)}">'
    element = opening + element[element.index(">") + 1 :]
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", element)
    return Markup(re.sub(r"#0[df]0[ec][0-9a-f]{2}", _variable, element))


@cache
def palette(dark: bool = False) -> dict[str, str]:
    """The page's colours by the names of its variables."""
    css = (resources.files("fewmask.report") / "templates" / "report.css").read_text(encoding="utf-8")
    block = css.split(":root {")[2 if dark else 1].split("}")[0]
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", block))


def standalone(element: str, title: str = "") -> str:
    """A figure of `to_markup` as a file of its own: concrete colours on a white ground, at its own size.

    Args:
        element: the figure.
        title: stands over it, since a page is not there to say it.
    """
    box = re.search(r'viewBox="([^"]+)"', element)
    if box is None:
        raise ValueError("the figure has no viewBox")
    width, height = (float(number) for number in box[1].split()[2:])
    above = 26 if title else 0
    inside = re.sub(r"var\((--[\w-]+)\)", lambda match: palette()[match[1]], element[element.index(">") + 1 :])
    name = re.search(r'aria-label="([^"]*)"', element)
    heading = f'<text x="12" y="-8" font-size="13" font-weight="600" fill="{palette()["--ink"]}">{escape(title)}</text>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 {-above} {width:g} {height + above:g}" width="{width:g}" height="{height + above:g}" '
        f'role="img" aria-label="{name[1] if name else ""}">'
        "<style>text { font-family: system-ui, 'Segoe UI', Helvetica, Arial, sans-serif !important }</style>"
        f'<rect y="{-above}" width="100%" height="100%" fill="#ffffff"/>{heading if title else ""}{inside}\n'
    )


def _variable(match: re.Match[str]) -> str:
    colour = match[0]
    return f"var({_VARIABLES[colour]})" if colour in _VARIABLES else f"var(--run-{int(colour[-2:], 16)})"
