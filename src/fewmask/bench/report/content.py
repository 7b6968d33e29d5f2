"""What the report says of many runs: by setting, the scores, the tests and the runs themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from fewmask.bench.case_scores import CaseScores, Setting, collect_all, group_runs
from fewmask.bench.ranks import Ranking, rank_methods
from fewmask.bench.report.remarks import of_section, of_unscored
from fewmask.bench.statistics import Comparison, Summary, compare, compare_all, may_be_bold, summarise
from fewmask.errors import ConfigError, DataError, RunError, nearest
from fewmask.report.data import Run, read_run
from fewmask.report.tables import LEFT_OUT
from fewmask.run_folder import RunFolder
from fewmask.words import listed

PRIMARY = "dice"
USUAL_BASELINE = "supervised"


@dataclass(frozen=True)
class BenchRun:
    """A run folder and where it stands.

    Attributes:
        path: the folder.
        label: the name under which its seeds stand together: a method, or a variant of one.
        data: name of the data set in the suite; runs of two names are never compared, even on the same cases.
    """

    path: Path
    label: str
    data: str = ""


@dataclass(frozen=True)
class Section:
    """Everything that was run in one setting.

    Attributes:
        heading: the setting in words.
        data: the suite's name for the data set.
        setting: what the runs share.
        scores: by metric; labels in the order of the report.
        by_class: Dice by class, where there are several.
        runs: by label, in the order of the seeds; index and name are the label's.
        baseline: what the others are compared with; None where it was not run here.
        level: of the intervals.
        alpha: of the tests.
        columns: metrics that are asked for; None: all but second opinions.
    """

    heading: str
    data: str
    setting: Setting
    scores: Mapping[str, CaseScores]
    by_class: Mapping[str, CaseScores]
    runs: Mapping[str, tuple[Run, ...]]
    baseline: str | None
    level: float = 0.95
    alpha: float = 0.05
    columns: Sequence[str] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the report."""
        return self.scores[PRIMARY].methods

    @property
    def others(self) -> tuple[str, ...]:
        """All but the baseline."""
        return tuple(label for label in self.labels if label != self.baseline)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that have a column; the csv files have all."""
        if self.columns is not None:
            return tuple(metric for metric in self.columns if metric in self.scores)
        return tuple(metric for metric in self.scores if metric not in LEFT_OUT)

    @property
    def seeds(self) -> Mapping[str, tuple[int, ...]]:
        """Those that each label was run with."""
        return self.scores[PRIMARY].seeds or {}

    @property
    def cases(self) -> int:
        """How many test cases there are."""
        return len(self.scores[PRIMARY].cases)

    @property
    def firsts(self) -> list[Run]:
        """The first run of each label: those that pictures and curves show."""
        return [self.runs[label][0] for label in self.labels]

    @property
    def labelled_by_seed(self) -> dict[int, set[frozenset[str]]]:
        """By seed the choices of labelled cases that its runs learn from: one where all labels share it."""
        found: dict[int, set[frozenset[str]]] = {}
        for run in (run for runs in self.runs.values() for run in runs):
            found.setdefault(run.experiment.train.seed, set()).add(frozenset(run.split.labelled))
        return found

    @cached_property
    def summaries(self) -> dict[str, dict[str, Summary]]:
        """By metric and label."""
        return {
            metric: {label: summarise(scores, label, self.level) for label in scores.methods}
            for metric, scores in self.scores.items()
        }

    @cached_property
    def bold(self) -> dict[str, frozenset[str]]:
        """By metric, the labels whose figure may be bold."""
        return {metric: may_be_bold(scores, self.alpha) for metric, scores in self.scores.items()}

    @cached_property
    def comparisons(self) -> dict[str, list[Comparison]]:
        """By metric, every label that shares a seed with the baseline against it; empty where there is none, or too few cases."""
        found: dict[str, list[Comparison]] = {metric: [] for metric in self.scores}
        for metric, scores in self.scores.items() if self.baseline else ():
            with contextlib.suppress(DataError):
                found[metric] = compare(scores, self.baseline or "")
        return found

    @cached_property
    def pairs(self) -> dict[str, list[Comparison]]:
        """By metric, every two labels that share a seed; empty where there are too few cases."""
        found: dict[str, list[Comparison]] = {metric: [] for metric in self.scores}
        for metric, scores in self.scores.items():
            with contextlib.suppress(DataError):
                found[metric] = compare_all(scores)
        return found

    @cached_property
    def ranking(self) -> Ranking | None:
        """None with fewer than three labels, six cases or one seed that all have."""
        try:
            return rank_methods(self.scores[PRIMARY], self.alpha)
        except DataError:
            return None

    def seeds_better(self, label: str, metric: str = PRIMARY) -> tuple[int, int]:
        """Under how many of the seeds that both have a label is better than the baseline, by its mean over the cases, and of how many."""
        if not self.scores[metric].common_seeds(label, self.baseline or label):
            return 0, 0  # nothing to pair
        pair = self.scores[metric].on_common_seeds(label, self.baseline or label)
        own, base = pair.by_seed(label), pair.by_seed(self.baseline or label)
        gains = (own - base) * (1 if pair.higher_is_better else -1)
        return int((gains > 0).sum()), len(gains)

    def cases_better(self, label: str, metric: str = PRIMARY) -> tuple[int, int]:
        """In how many of the cases that both have a label is better than the baseline, by its mean over the seeds."""
        pair = self.scores[metric].on_common_seeds(label, self.baseline or label)
        gains = (pair.by_case(label) - pair.by_case(self.baseline or label)) * (1 if pair.higher_is_better else -1)
        return int((gains > 0).sum()), int((~np.isnan(gains)).sum())


@dataclass(frozen=True)
class Bench:
    """A report's content.

    Attributes:
        title: of the report.
        labels: all of them; their places are their colours.
        baseline: the one that the others are compared with, where it was run.
        sections: one a setting.
        remarks: what a reader should know before believing the numbers.
    """

    title: str
    labels: tuple[str, ...]
    baseline: str
    sections: tuple[Section, ...]
    remarks: tuple[str, ...]

    def index(self, label: str) -> int:
        """The number of a label's colour."""
        return self.labels.index(label)


def read_bench(
    runs: Sequence[BenchRun],
    *,
    baseline: str | None = None,
    title: str | None = None,
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    alpha: float = 0.05,
    remarks: Sequence[str] = (),
) -> Bench:
    """Read run folders, and group them by what they can be compared on.

    Args:
        runs: in any number of settings; those that were not scored yet are left out and told.
        baseline: a label; None: ``supervised`` where there is one, else the first label.
        title: of the report; None: made from the data sets.
        metrics: that have a column; None: all but second opinions.
        level: of the intervals.
        alpha: of the tests.
        remarks: more of them.

    Raises:
        RunError: no run is scored, a file of one is odd, or runs of a setting were scored differently.
        ConfigError: there is no such baseline, or the level is none.
    """
    scored = [run for run in runs if is_scored(run.path)]
    if not scored:
        raise RunError("no run has scores yet: wait for the first, or run fewmask predict and fewmask evaluate")
    names = list(dict.fromkeys(run.label for run in scored))
    chosen = baseline or (USUAL_BASELINE if USUAL_BASELINE in names else names[0])
    if chosen not in names:
        raise ConfigError(f"no run is called {chosen!r}, so it cannot be the baseline: {nearest(chosen, names)}")
    if not 0 < alpha < 1 or not 0 < level < 1:
        raise ConfigError(f"level {level:g} and alpha {alpha:g} must lie between 0 and 1, such as 0.95 and 0.05")
    labels = (chosen, *(name for name in names if name != chosen))
    by_path = {run.path: run.label for run in scored}
    sections = tuple(
        replace(_section(heading, name, paths, by_path, labels), level=level, alpha=alpha, columns=metrics)
        for heading, name, paths in _groups(scored)
    )
    late = [run for run in runs if run not in scored]
    told = [*remarks, *of_unscored(late, len(runs)), *(text for section in sections for text in of_section(section))]
    return Bench(title or _title(sections), labels, chosen, sections, tuple(dict.fromkeys(told)))


def is_scored(path: Path) -> bool:
    """Whether a run folder holds scores.

    Raises:
        RunError: it is none.
    """
    run = RunFolder.open(path)
    return any((folder / "summary.json").is_file() for folder in (run.predictions, run.path))


def _groups(runs: Sequence[BenchRun]) -> Iterator[tuple[str, str, list[Path]]]:
    """Heading, the suite's name of the data set, and run folders that can be compared; the name opens the heading where two are alike."""
    names = list(dict.fromkeys(run.data for run in runs))
    groups = {name: group_runs([run.path for run in runs if run.data == name]) for name in names}
    for name, found in groups.items():
        for setting, paths in found.items():
            twice = sum(setting.dataset in {other.dataset for other in group} for group in groups.values()) > 1
            yield (f"{name}: {setting}" if twice else str(setting)), name, paths


def _section(heading: str, data: str, paths: list[Path], by_path: Mapping[Path, str], labels: Sequence[str]) -> Section:
    paths = sorted(paths, key=lambda path: labels.index(by_path[path]))
    names = [by_path[path] for path in paths]
    scores = collect_all(paths, labels=names)
    runs: dict[str, list[Run]] = {}
    for path, label in zip(paths, names, strict=True):
        runs.setdefault(label, []).append(replace(read_run(path.resolve(), label, labels.index(label)), path=path))
    for found in runs.values():
        found.sort(key=lambda run: run.experiment.train.seed)
    baseline = labels[0] if labels[0] in names else None
    whole = {label: tuple(found) for label, found in runs.items()}
    setting = scores[PRIMARY].setting
    assert setting is not None
    return Section(heading, data, setting, scores, _by_class(paths, names, runs[names[0]][0]), whole, baseline)


def _by_class(paths: Sequence[Path], names: Sequence[str], run: Run) -> dict[str, CaseScores]:
    """Dice of each class, where there are several; a class that some run has in no case is left out."""
    classes = tuple(run.scores.classes) if run.scores else ()
    found = {}
    for name in classes if len(classes) > 1 else ():
        with contextlib.suppress(DataError):
            found[name] = collect_all(paths, (PRIMARY,), name, names)[PRIMARY]
    return found


def _title(sections: Sequence[Section]) -> str:
    names = list(dict.fromkeys(section.setting.dataset for section in sections))
    return f"Methods compared on {listed(names)}"
