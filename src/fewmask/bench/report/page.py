"""The report as one HTML page that needs no other file and no network."""

from __future__ import annotations

from datetime import datetime

from fewmask.bench.report.content import Bench
from fewmask.bench.report.shown import ABOUT_CASES, ABOUT_COST, ABOUT_EFFICIENCY, ABOUT_RANKS, ABOUT_TESTS, Report
from fewmask.metrics.words import metric_title
from fewmask.report.curves import AT_ONCE
from fewmask.report.html import template
from fewmask.report.pictures import draw_cases, error_legend


def to_html(report: Report) -> str:
    """The page as text."""
    bench = report.bench
    return template("bench.html").render(
        title=bench.title,
        subtitle=subtitle(bench),
        written=f"{datetime.now():%d %B %Y, %H:%M}",
        report=report,
        bench=bench,
        facts=facts(bench),
        remarks=[*bench.remarks, *report.problems],
        definitions=definitions(bench),
        pictures={part.name: draw_cases(part.views, f"{part.name}-scan") for part in report.sections},
        scales={part.name: error_legend(part.views) for part in report.sections},
        at_once=AT_ONCE,
        about={
            "tests": ABOUT_TESTS,
            "ranks": ABOUT_RANKS,
            "cases": ABOUT_CASES,
            "efficiency": ABOUT_EFFICIENCY,
            "cost": ABOUT_COST,
        },
    )


def subtitle(bench: Bench) -> str:
    """The methods, the baseline among them."""
    others = ", ".join(bench.labels[1:])
    return f"{others} against {bench.baseline}" if others else bench.baseline


def facts(bench: Bench) -> list[tuple[str, int]]:
    """Name and number."""
    runs = sum(len(found) for section in bench.sections for found in section.runs.values())
    most = max(section.cases for section in bench.sections)
    return [
        ("settings", len(bench.sections)),
        ("methods", len(bench.labels)),
        ("runs", runs),
        ("test cases", most),
    ]


def definitions(bench: Bench) -> list[tuple[str, str]]:
    """What the columns mean, in the words of the evaluation."""
    section = bench.sections[0]
    scores = section.firsts[0].scores
    texts = scores.definitions if scores else {}
    found = [(metric_title(m), texts.get("nsd@t" if "@" in m else m)) for m in section.metrics]
    return [(name, text) for name, text in found if text]
