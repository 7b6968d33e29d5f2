"""The scores of many runs case by case, read from their folders: methods x seeds x cases of one setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.errors import ConfigError, DataError, RunError, nearest
from fewmask.metrics.words import is_share
from fewmask.report.scores import Scores, read_scores
from fewmask.run_folder import FREE, RunFolder, flatten
from fewmask.words import listed

Floats = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Setting:
    """What runs must share so that their scores can be compared.

    Attributes:
        dataset: its name.
        protocol: that the split follows, such as ``la/paper``; empty: none.
        labelled: cases that are trained on with their labels.
        validation: cases that choose the checkpoint.
        unlabelled: cases that are trained on without labels.
    """

    dataset: str
    protocol: str
    labelled: int
    validation: int
    unlabelled: int

    def __str__(self) -> str:
        """As people say it."""
        protocol = f" ({self.protocol})" if self.protocol else ""
        return f"{self.dataset}{protocol}, {self.labelled} labelled, {self.validation} validation, {self.unlabelled} unlabelled"


@dataclass(frozen=True)
class CaseScores:
    """One metric of several methods on the same cases.

    Attributes:
        metric: its name.
        values: per method ``(seeds, cases)``; NaN where the case has nothing to score: prediction and reference are empty.
        cases: their names.
        unit: of distances.
        seeds: per method those of its rows.
        setting: what the runs share; None where the scores come from elsewhere.
        shortcuts: that the runs take; they belong under every table.
    """

    metric: str
    values: Mapping[str, Floats]
    cases: tuple[str, ...]
    unit: str = "voxel"
    seeds: Mapping[str, tuple[int, ...]] | None = None
    setting: Setting | None = None
    shortcuts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the shapes and that there is a score of each method.

        Raises:
            DataError: they do not fit, or a value is infinite.
        """
        if not self.values:
            raise DataError("there is no method to compare: give the scores of at least one")
        for method, values in self.values.items():
            if values.ndim != 2 or values.shape[1] != len(self.cases) or not values.size:
                raise DataError(
                    f"the scores of {method} have shape {values.shape}; give (seeds, {len(self.cases)} cases)"
                )
            if np.isinf(values).any():
                raise DataError(f"the scores of {method} hold an infinite value; leave it out or score the case again")
            if np.isnan(values).all(axis=1).any():
                raise DataError(f"a run of {method} has no {self.metric} of any case; leave it out")

    @property
    def methods(self) -> tuple[str, ...]:
        """Their names in the order given."""
        return tuple(self.values)

    @property
    def higher_is_better(self) -> bool:
        """True for overlaps and surface Dice, False for distances."""
        return is_share(self.metric)

    def of(self, method: str) -> Floats:
        """``(seeds, cases)`` of a method.

        Raises:
            ConfigError: there is none of that name.
        """
        if method not in self.values:
            raise ConfigError(f"there are no scores of a method {method!r}: {nearest(method, self.values)}")
        return self.values[method]

    def on_common_seeds(self, *methods: str) -> CaseScores:
        """These methods alone, with the seeds that all of them have: seeds differ in what is labelled, too.

        Where seeds are not known one by one, all rows stay.

        Raises:
            DataError: they have no seed in common.
        """
        values = {name: self.of(name) for name in methods}
        common = self.common_seeds(*methods)
        if common is None:
            known = self.seeds and {name: self.seeds.get(name, ()) for name in methods}
            return replace(self, values=values, seeds=known)
        if not common:
            raise DataError(f"{listed(methods)} have no seed in common: run them under the same seeds")
        places = {name: [(self.seeds or {})[name].index(seed) for seed in common] for name in methods}
        rows = {name: values[name][places[name]] for name in methods}
        return replace(self, values=rows, seeds=dict.fromkeys(methods, common))

    def common_seeds(self, *methods: str) -> tuple[int, ...] | None:
        """The seeds that all of these methods have, sorted; None where seeds are not known one by one."""
        seeds = [(self.seeds or {}).get(name, ()) for name in methods]
        if any(not numbers or len({*numbers}) < len(numbers) for numbers in seeds):
            return None
        return tuple(sorted(set.intersection(*({*numbers} for numbers in seeds))))

    def by_case(self, method: str) -> Floats:
        """``(cases,)``: the mean over the seeds that have a score; NaN where none has."""
        return mean_of_known(self.of(method), axis=0)

    def by_seed(self, method: str) -> Floats:
        """``(seeds,)``: the mean over the cases that have a score."""
        return mean_of_known(self.of(method), axis=1)


def mean_of_known(values: Floats, axis: int) -> Floats:
    """The mean without NaN; NaN where nothing else is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=axis)
    sums = np.where(known, values, 0.0).sum(axis=axis)
    means: Floats = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return means


def group_runs(paths: Sequence[Path]) -> dict[Setting, list[Path]]:
    """Run folders by what they can be compared on, sorted.

    Raises:
        RunError: a folder is no run, or not whole.
    """
    groups: dict[Setting, list[Path]] = {}
    for path in paths:
        groups.setdefault(_setting(RunFolder.open(path)), []).append(path)
    return dict(sorted(groups.items()))


def collect(
    paths: Sequence[Path], metric: str = "dice", class_name: str | None = None, labels: Sequence[str] | None = None
) -> CaseScores:
    """One metric of `collect_all`; arguments and errors as there."""
    return collect_all(paths, (metric,), class_name, labels)[metric]


def collect_all(
    paths: Sequence[Path],
    metrics: Sequence[str] | None = None,
    class_name: str | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, CaseScores]:
    """The scores that `fewmask.metrics.Evaluation.write` left in run folders of one setting.

    Args:
        paths: run folders.
        metrics: their names; None: all that were scored.
        class_name: None: of each case the mean over the classes that it has.
        labels: a name for each run, under which runs of several seeds stand together; it tells variants of one method apart. None: the
            methods' names, and runs of a method must then agree in all their settings.

    Returns:
        By metric; methods in alphabetical order, or labels in the order given.

    Raises:
        RunError: a run is not whole, was not scored, or differs from the others in more than label and seed: in its setting, its test
            cases, its unit, or from the others of its label in the method (without labels, in any setting); or a run is there twice.
        ConfigError: no run has that metric or class.
    """
    if not paths:
        raise RunError("there is no run to compare: give the --output folders of fewmask train")
    names: Sequence[str | None] = labels or [None] * len(paths)
    runs = [_read(Path(path), name) for path, name in zip(paths, names, strict=True)]
    _check_alike(runs, settings=labels is None)
    first = runs[0].scores
    for name, known in (
        *((metric, first.metric_names) for metric in metrics or ()),
        (class_name, tuple(first.classes)),
    ):
        if name is not None and name not in known:
            raise ConfigError(f"{runs[0].path}: the scores hold no {name!r}: {nearest(name, known)}")
    order = list(dict.fromkeys(labels)) if labels else sorted({run.label for run in runs})
    runs.sort(key=lambda run: (order.index(run.label), run.seeds))
    return {metric: _table(runs, metric, class_name) for metric in metrics or first.metric_names}


def _table(runs: Sequence[_Run], metric: str, class_name: str | None) -> CaseScores:
    first = runs[0]
    cases = tuple(sorted(first.scores.cases))
    values: dict[str, list[list[float]]] = {}
    seeds: dict[str, list[int]] = {}
    for run in runs:
        values.setdefault(run.label, []).append([run.scores.value(case, metric, class_name) for case in cases])
        seeds.setdefault(run.label, []).append(run.seeds[0])
    return CaseScores(
        metric,
        {label: np.array(rows) for label, rows in values.items()},
        cases,
        first.scores.unit,
        {label: tuple(numbers) for label, numbers in seeds.items()},
        first.setting,
        tuple(dict.fromkeys(name for run in runs for name in run.shortcuts)),
    )


@dataclass(frozen=True)
class _Run:
    path: Path
    label: str
    seeds: tuple[int, int]  # of the training, and that the split was drawn with
    config: dict[str, Any]
    setting: Setting
    scores: Scores
    shortcuts: tuple[str, ...]


def _read(path: Path, label: str | None) -> _Run:
    folder = RunFolder.open(path)
    experiment, split, scores = folder.experiment(), folder.split(), read_scores(path)
    if scores is None:
        raise RunError(f"{path} was not scored: run fewmask predict and fewmask evaluate, or leave it out")
    config = flatten(experiment.model_dump(mode="json"))
    seed = config.pop("train.seed")
    shortcuts = tuple(name for name in split.shortcuts if name != "voxel-units" or scores.unit == "voxel")
    seeds = (seed, -1 if split.seed is None else split.seed)
    return _Run(path, label or experiment.method.name, seeds, config, _setting(folder), scores, shortcuts)


def _setting(run: RunFolder) -> Setting:
    split = run.split()
    sizes = len(split.labelled), len(split.validation), len(split.unlabelled)
    return Setting(str(run.dataset()["name"]), split.protocol or "", *sizes)


def _check_alike(runs: Sequence[_Run], settings: bool) -> None:
    first = runs[0]
    seen: dict[tuple[str, tuple[int, int]], _Run] = {}
    same_label: dict[str, _Run] = {}
    for run in runs:
        _check_scored_alike(run, first)
        like = same_label.setdefault(run.label, run)
        keys = {*run.config, *like.config} - {*FREE} if settings else {"method.name"}
        if odd := sorted(key for key in keys if run.config.get(key) != like.config.get(key)):
            raise RunError(
                f"{run.path} and {like.path} are the same method with other settings ({', '.join(odd[:4])}): give one of them"
                if settings
                else f"{run.path} and {like.path} are different methods under one label: give each its own"
            )
        if other := seen.get((run.label, run.seeds)):
            raise RunError(f"{run.path} and {other.path} are the same method with the same seeds: leave one out")
        seen[run.label, run.seeds] = run


def _check_scored_alike(run: _Run, first: _Run) -> None:
    if run.setting != first.setting:
        raise RunError(
            f"{run.path} ({run.setting}) and {first.path} ({first.setting}) cannot be compared: give runs of one setting"
        )
    for what, mine, theirs in (
        ("test cases", {*run.scores.cases}, {*first.scores.cases}),
        ("classes", {*run.scores.classes}, {*first.scores.classes}),
        ("units", {run.scores.unit}, {first.scores.unit}),
        ("metrics", {*run.scores.metric_names}, {*first.scores.metric_names}),
    ):
        if odd := sorted(mine ^ theirs):
            raise RunError(
                f"{run.path} and {first.path} were scored on other {what} ({', '.join(odd[:4])}): score them alike"
            )
