"""Everything that the report shows of a bench, made once for all the formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fewmask.bench.differences import TO_RECORD
from fewmask.bench.grid import Grid
from fewmask.bench.ranks import FEWEST_BLOCKS
from fewmask.bench.report import grids
from fewmask.bench.report.content import PRIMARY, Bench, Section
from fewmask.bench.report.cost import cost_plot
from fewmask.bench.report.figures import Plot, case_plot, efficiency_plot, rank_plot
from fewmask.bench.report.theirs import OfPaper, by_paper, published_tables, records_shortcuts
from fewmask.bench.report.verdict import Verdict, overall, verdict
from fewmask.bench.tables import SideBySide
from fewmask.data.protocols.shortcuts import stamp
from fewmask.metrics.words import UNITS, p_value
from fewmask.report.case_views import CaseView, look_at_cases
from fewmask.report.curves import Panel, training_panels
from fewmask.report.data import Run
from fewmask.words import count, listed

BY_CASE = ("dice", "hd95")


@dataclass(frozen=True)
class Shown:
    """One setting, ready to be written.

    Attributes:
        name: short, for files and ids.
        section: what it is of.
        verdict: in plain words.
        scores: the table; ``classes``, ``tests``, ``intervals`` and ``settings`` are further ones, None where there is nothing to say.
        by_case: plots of every case.
        ranks: critical-difference diagram.
        about_ranks: what is to be said about it, or why there is none; empty where nobody would expect one.
        cost: score against time.
        views: what pictures are made of.
        curves: of the trainings, the first seed of each label.
        theirs: published tables.
        protocol: how it was split and scored, a sentence each.
    """

    name: str
    section: Section
    verdict: Verdict
    scores: Grid
    classes: Grid | None
    tests: Grid | None
    intervals: Grid
    settings: Grid | None
    by_case: list[Plot]
    ranks: Plot | None
    about_ranks: str
    cost: Plot | None
    views: list[CaseView]
    curves: list[Panel]
    theirs: list[SideBySide]
    protocol: list[str]


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes:
        bench: the content.
        overall: over all settings, one sentence a label.
        sections: in the order of the settings.
        efficiency: by data set, where there are several numbers of labels.
        problems: what could not be shown.
        suite: the text of the suite, where there is one.
    """

    bench: Bench
    overall: list[str]
    sections: list[Shown]
    efficiency: list[Plot]
    problems: list[str]
    suite: str | None

    @property
    def papers(self) -> list[OfPaper]:
        """The published tables of all settings."""
        return by_paper(table for part in self.sections for table in part.theirs)


def prepare(bench: Bench, suite: str | None = None, pictures: bool = True) -> Report:
    """Draw and word everything.

    Args:
        bench: the content.
        suite: the text of its suite.
        pictures: whether scans are read and shown.
    """
    sections, problems = [], []
    for number, section in enumerate(bench.sections):
        views, missing = look_at_cases(section.firsts) if pictures else ([], [])
        problems += [f"{section.heading}: {text}" for text in missing]
        sections.append(_show(section, f"setting{number}", views))
    return Report(bench, overall(bench), sections, _efficiency(bench), problems, suite)


def _show(section: Section, name: str, views: list[CaseView]) -> Shown:
    ranking = section.ranking
    return Shown(
        name,
        section,
        verdict(section),
        grids.score_grid(section),
        grids.class_grid(section),
        grids.comparison_grid(section),
        grids.interval_grid(section),
        grids.setting_grid(section),
        [case_plot(section, metric, f"{name}-cases-{metric}") for metric in BY_CASE if metric in section.scores],
        rank_plot(section, ranking, f"{name}-ranks") if ranking else None,
        _about_ranks(section),
        cost_plot(section, PRIMARY, f"{name}-cost") if len(section.labels) > 1 else None,
        views,
        training_panels(section.firsts, f"{name}-curve"),
        published_tables(section),
        list(_protocol(section)),
    )


def _about_ranks(section: Section) -> str:
    ranking, common = section.ranking, section.scores[PRIMARY].common_seeds(*section.labels)
    if ranking is None:
        asked = common == () and len(section.labels) > 2 and section.cases >= FEWEST_BLOCKS
        return "No ranks: there is no seed that all methods have." if asked else ""
    alike = ", so nothing can be told apart" if ranking.p >= ranking.alpha else ""
    on = f"{count(ranking.blocks, 'case')}{_on_seeds(section, common or ())}"
    return f"{on}. Friedman’s test that all are alike: {p_value(ranking.p)}{alike}."


def _on_seeds(section: Section, common: tuple[int, ...]) -> str:
    """The seeds that a picture of all methods stands on, and whether some have more."""
    if not common:
        return ""
    few = len(common) < max(map(len, section.seeds.values()))
    only = f", the only {'one' if len(common) == 1 else 'ones'} that all methods have" if few else ""
    return f", {'seed' if len(common) == 1 else 'mean over the seeds'} {listed([*map(str, common)])}{only}"


ABOUT_TESTS = (
    "The tests ask whether a difference would hold on other cases like these, for runs like these; the seeds say how much runs differ. "
    "Where the labelled cases change from seed to seed, a few seeds say little of other choices of them."
)
ABOUT_RANKS = (
    "Ranks of each case; the line is the average rank, the size of a dot the share of cases in which a method takes that rank. Bars join "
    "methods that cannot be told apart: all of them where Friedman’s test finds no difference, else those whose averages differ by less "
    "than the critical difference (Nemenyi)."
)
ABOUT_CASES = (
    "A dot is a test case, averaged over seeds; the box spans the quartiles, its line is the median. Hollow: a class was missed or "
    "spurious under some seed. Where two methods are shown, grey lines join the same case."
)
ABOUT_EFFICIENCY = (
    "Mean over seeds and cases; the band is one standard deviation over seeds to either side, small dots are seeds. The axis of labels is "
    "logarithmic."
)
ABOUT_COST = (
    "Time of the training as the runs logged it, mean over seeds, so it holds for the machine at hand and what else it did. Bars, "
    "where methods are few enough: one standard deviation over seeds."
)


def _efficiency(bench: Bench) -> list[Plot]:
    """A plot for each data set and protocol with several numbers of labels, where all have the same test cases."""
    groups: dict[tuple[str, str, str, tuple[str, ...]], list[Section]] = {}
    for section in bench.sections:
        key = section.data, section.setting.dataset, section.setting.protocol, section.scores[PRIMARY].cases
        groups.setdefault(key, []).append(section)
    several = [found for found in groups.values() if len({section.setting.labelled for section in found}) > 1]
    plots = [
        efficiency_plot(found, metric, f"efficiency{number}-{metric}")
        for number, found in enumerate(several)
        for metric in BY_CASE
        if all(metric in section.scores for section in found)
    ]
    return [plot for plot in plots if plot]


def _protocol(section: Section) -> Iterator[str]:
    runs = [run for found in section.runs.values() for run in found]
    first = runs[0]
    yield f"Protocol: {section.setting.protocol or 'none of a paper'}. Split: {first.split.how}"
    choices = section.labelled_by_seed.values()
    among = "seed to seed" if all(len(found) == 1 for found in choices) else "run to run"
    same = len(frozenset().union(*choices)) == 1
    yield "All runs learn from the same labelled cases" if same else f"The labelled cases differ from {among}"
    yield f"Weights that predict: {_each(section, lambda run: run.experiment.inference.checkpoint)}"
    yield f"Iterations: {_each(section, lambda run: run.experiment.train.iterations)}"
    yield (f"Distances are in {UNITS[section.scores[PRIMARY].unit]}")
    nothing = "No shortcuts taken" if records_shortcuts(section) else f"Shortcuts: none recorded. {TO_RECORD}"
    yield stamp(section.scores[PRIMARY].shortcuts) or nothing


def _each(section: Section, what: Callable[[Run], object]) -> str:
    """A fact of the runs: once where all agree, otherwise by label."""
    found: dict[str, list[str]] = {}
    for label, runs in section.runs.items():
        for value in dict.fromkeys(str(what(run)) for run in runs):
            found.setdefault(value, []).append(label)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{value} ({', '.join(labels)})" for value, labels in found.items())
