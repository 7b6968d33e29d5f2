"""A table as text, and the ways to write it: Markdown and LaTeX; the page of the report has its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        text: the figure.
        bold: a claim, see `fewmask.bench.statistics.may_be_bold`.
        small: under or beside it, such as its interval.
    """

    text: str
    bold: bool = False
    small: str = ""


@dataclass(frozen=True)
class Grid:
    """A table with its heading.

    Attributes:
        title: what it is of.
        heads: of the columns; the first column names the rows.
        rows: as many cells as there are heads.
        notes: what a reader must know, one sentence each, without the full stop.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def cells(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Plain ones."""
    return tuple(Cell(text) for text in texts)


def to_markdown(grid: Grid, level: int = 3) -> str:
    """A heading of the given level, the table, and the notes as a list."""
    lines = [
        [escape_markdown(head) for head in grid.heads],
        ["---", *["---:"] * (len(grid.heads) - 1)],
        *([_markdown_cell(cell) for cell in row] for row in grid.rows),
    ]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "".join(f"- {escape_markdown(note)}.\n" for note in grid.notes)
    heading = f"{'#' * level} {escape_markdown(grid.title)}\n\n" if grid.title else ""
    return f"{heading}{body}\n" + (f"\n{notes}" if notes else "")


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    small = f"<br><sub>{escape_markdown(cell.small)}</sub>" if cell.small else ""
    return (f"**{text}**" if cell.bold else text) + small


def escape_markdown(text: str) -> str:
    """Text that starts neither a column nor a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def to_latex(grid: Grid) -> str:
    """A ``table`` environment that needs the package ``booktabs``; the notes stand under the table."""
    heads = " & ".join(escape_latex(head) for head in grid.heads)
    rows = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in grid.rows]
    notes = " ".join(f"{escape_latex(note)}." for note in grid.notes)
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escape_latex(grid.title)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(grid.heads) - 1)}}}",
            r"\toprule",
            rf"{heads} \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\par\footnotesize {notes}",
            r"\end{table}",
            "",
        ]
    )


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "…": r"\ldots{}",
    "†": r"$\dagger$",
    "\u00a0": "~",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """Text that means itself in LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    small = rf" {{\scriptsize {escape_latex(cell.small)}}}" if cell.small else ""
    return (rf"\textbf{{{text}}}" if cell.bold else text) + small
