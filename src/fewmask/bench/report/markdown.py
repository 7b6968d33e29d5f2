"""The report as Markdown with figures beside it, for places that show Markdown: everything but the curves and the configs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fewmask.bench.grid import Grid, escape_markdown, to_markdown
from fewmask.bench.report.figures import Plot
from fewmask.bench.report.montage import montage
from fewmask.bench.report.page import facts, subtitle
from fewmask.bench.report.shown import (
    ABOUT_CASES,
    ABOUT_COST,
    ABOUT_EFFICIENCY,
    ABOUT_RANKS,
    ABOUT_TESTS,
    Report,
    Shown,
)
from fewmask.bench.report.theirs import OfPaper
from fewmask.report.pictures import error_legend, error_step
from fewmask.report.svg import standalone
from fewmask.words import count

FOLDER = "figures"
ABSOLUTE = re.compile(r"(?<![\w.~:<>/\\)-])(?:[A-Za-z]:)?[\\/](?=[\w.~])[^\s'\"`,;:()<>|]*")
"""A path from the root of a file system, not a part of a relative one, of an address, of a tag or of a formula."""


def to_report_markdown(report: Report) -> tuple[str, dict[str, bytes]]:
    """The text, and the figures that it refers to by their paths."""
    files: dict[str, bytes] = {}
    blocks = [
        f"# {escape_markdown(report.bench.title)}",
        f"{escape_markdown(subtitle(report.bench))}: {', '.join(_fact(name, number) for name, number in facts(report.bench))}.",
        *_verdicts(report),
        "## Scores",
        *(
            to_markdown(grid)
            for part in report.sections
            for grid in (part.scores, part.tests, part.classes, part.intervals)
            if grid
        ),
        *_plots("How much a label is worth", report.efficiency, ABOUT_EFFICIENCY, files),
        *_plots(
            "Case by case",
            [plot for part in report.sections for plot in part.by_case],
            ABOUT_CASES,
            files,
            report.sections,
        ),
        *_ranks(report.sections, files),
        *_plots(
            "Cost against Dice",
            [part.cost for part in report.sections if part.cost],
            ABOUT_COST,
            files,
            report.sections,
        ),
        *_pictures(report.sections, files),
        *_theirs(report.papers),
        *_protocol(report),
    ]
    return without_folders("\n\n".join(block.strip("\n") for block in blocks) + "\n"), files


def without_folders(text: str) -> str:
    """Text in which absolute paths are cut to their last part: what is committed tells nothing of the machine.

    A suite that is shown so is still one: its data sets and recipes lie beside it.
    """
    return ABSOLUTE.sub(lambda path: re.split(r"[\\/]", path[0].rstrip("\\/"))[-1], text)


def _fact(name: str, number: int) -> str:
    return count(number, name.removesuffix("s"))


def _verdicts(report: Report) -> Iterator[str]:
    yield "## What came out"
    if report.overall:
        yield _bullets(report.overall)
    for part in report.sections:
        yield f"### {escape_markdown(part.verdict.setting)}"
        yield f"**{escape_markdown(part.verdict.headline)}**"
        if part.verdict.details:
            yield _bullets(part.verdict.details)
        if part.verdict.evidence:
            yield escape_markdown(part.verdict.evidence)
    yield ABOUT_TESTS
    remarks = [*report.bench.remarks, *report.problems]
    if remarks:
        yield "\n>\n".join(f"> {escape_markdown(remark)}" for remark in remarks)


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escape_markdown(sentence)}." for sentence in sentences)


def _plots(
    title: str, plots: Sequence[Plot], about: str, files: dict[str, bytes], sections: Sequence[Shown] = ()
) -> Iterator[str]:
    """A heading and the plots, each setting under its name where there are several."""
    if not plots:
        return
    yield f"## {title}"
    for part in sections if len(sections) > 1 else ():
        own = [plot for plot in plots if plot.name.startswith(f"{part.name}-")]
        if own:
            yield f"### {escape_markdown(part.section.heading)}"
            yield " ".join(_image(plot, files) for plot in own)
    if len(sections) < 2:
        yield " ".join(_image(plot, files) for plot in plots)
    yield about


def _ranks(sections: Sequence[Shown], files: dict[str, bytes]) -> Iterator[str]:
    """Each setting's ranks with what Friedman's test says of them, or why there are none."""
    told = [part for part in sections if part.about_ranks]
    if told:
        yield "## Ranks and critical differences"
    for part in told:
        if len(sections) > 1:
            yield f"### {escape_markdown(part.section.heading)}"
        if part.ranks:
            yield _image(part.ranks, files)
        yield escape_markdown(part.about_ranks)
    if any(part.ranks for part in told):
        yield ABOUT_RANKS


def _image(plot: Plot, files: dict[str, bytes]) -> str:
    path = f"{FOLDER}/{plot.name}.svg"
    files[path] = standalone(plot.figure, plot.title).encode()
    return f"![{_alternative(plot.title)}]({path})"


def _alternative(text: str) -> str:
    return escape_markdown(text).replace("[", "(").replace("]", ")")


def _pictures(sections: Sequence[Shown], files: dict[str, bytes]) -> Iterator[str]:
    if not any(part.views for part in sections):
        return
    yield "## Worst, median and best case"
    for part in sections:
        if not part.views:
            continue
        step = error_step(part.views)
        if len(sections) > 1:
            yield f"### {escape_markdown(part.section.heading)}"
        for number, view in enumerate(part.views):
            path = f"{FOLDER}/{part.name}-picture{number}.jpg"
            files[path] = montage(view, step)
            words = f"{view.rank}: {view.case}"
            yield f"{escape_markdown(words)}\n\n![{_alternative(words)}]({path})"
        legend = "; ".join(words for _, words in error_legend(part.views))
        yield f"Upper pictures: the reference white, the prediction coloured. Lower ones: the predicted border, from blue to red: {legend}."


def _theirs(papers: Sequence[OfPaper]) -> Iterator[str]:
    if papers:
        yield "## Published figures beside ours"
    for paper in papers:
        yield f"### {escape_markdown(paper.name)}"
        yield f"{escape_markdown(paper.source)}."
        yield _bullets(paper.remarks)
        yield from (to_markdown(grid, 4) for grid in paper.grids)


def _protocol(report: Report) -> Iterator[str]:
    yield "## Protocol and shortcuts"
    for part in report.sections:
        if len(report.sections) > 1:
            yield f"### {escape_markdown(part.section.heading)}"
        yield _bullets([sentence[:1].upper() + sentence[1:] for sentence in part.protocol])
        if part.settings:
            yield to_markdown(Grid("", part.settings.heads, part.settings.rows))
    if report.suite:
        yield f"## To repeat it\n\n```yaml\n{report.suite.strip()}\n```"
    elif commands := list(dict.fromkeys(_commands(report))):
        yield "## To repeat it\n\n```bash\n" + "\n".join(commands) + "\n```"


def _commands(report: Report) -> Iterator[str]:
    for run in (run for part in report.sections for runs in part.section.runs.values() for run in runs):
        words = list(map(str, run.environment.get("command", [])))
        if words and not words[0].endswith("work.py"):  # a suite's job, which nobody has typed
            yield " ".join(words)
