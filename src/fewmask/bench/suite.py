"""What a comparison runs: methods x data sets x labelled counts x seeds, as one YAML file.

``suites/`` holds the shipped ones. Paths in a suite are relative to its file; the shipped ones name no data, which ``--data`` gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fewmask.config import Section, merge
from fewmask.errors import ConfigError, nearest
from fewmask.metrics.score import EXTRAS, metric_names
from fewmask.words import parse_amount

NSD = re.compile(r"nsd@\d+(\.\d+)?")
"""Surface Dice, scored where ``evaluation.nsd_tolerance`` asks for it."""
NOTES, REPORT = "jobs", "report"
"""The folders of an output for the jobs' logs and states and for the report; no data set can be called like them."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else _as_tuple(value)


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        parse_amount(str(value), "the amount")
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return str(value)


def _named(value: Any) -> Any:
    return tuple({"name": one} if isinstance(one, str) else one for one in value) if isinstance(value, list) else value


Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+-]*$", max_length=80)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]
Amount = Annotated[str, BeforeValidator(_amount)]
Amounts = Annotated[tuple[Amount, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Settings = dict[str, Any]
"""Dotted keys of the config and their values."""


class SomeRuns(Section):
    """Settings for some runs of a data set only.

    Attributes:
        method: labels of methods; None: all.
        labelled: None: all.
        set: on top of everything else.
        skip: leave these runs out.
    """

    method: Texts | None = None
    labelled: Amount | None = None
    set: Settings = Field(default_factory=dict)
    skip: bool = False

    def applies(self, label: str, labelled: str) -> bool:
        """Whether a run is meant."""
        return (self.method is None or label in self.method) and self.labelled in (None, labelled)


class PhantomScans(Section):
    """Synthetic scans that are made for the suite; see `fewmask.data.phantom`."""

    shape: Annotated[tuple[int, ...], BeforeValidator(_as_tuple)] = (40, 40, 40)
    train: int = Field(4, ge=1)
    unlabelled: int = Field(12, ge=0)
    test: int = Field(8, ge=1)
    noise: float = Field(2.0, ge=0)
    seed: int = Field(0, ge=0)


class SuiteData(Section):
    """A data set of a suite, and how it is split.

    Attributes:
        dataset: its folder; None: ``--data`` says it.
        phantom: or synthetic scans, where no folder is given.
        recipe: the first of these that is there, ``{method}`` and ``{labelled}`` replaced.
        labelled: label budgets: numbers of cases, or shares.
        val: how much of the budget validates; None: nothing, or as the protocol has it.
        protocol: that the split follows; None: a random choice.
        lists: others of the data set's lists than the protocol's.
        ordered: take the published order of cases; None: where the protocol has one. Otherwise each seed draws its own.
        methods: labels of the suite's methods that run on it; None: all.
        set: settings of all its runs.
        exceptions: settings of some.
    """

    dataset: str | None = None
    phantom: PhantomScans | None = None
    recipe: Texts
    labelled: Amounts
    val: Amount | None = None
    protocol: str | None = None
    lists: str | None = None
    ordered: bool | None = None
    methods: Texts | None = None
    set: Settings = Field(default_factory=dict)
    exceptions: Annotated[tuple[SomeRuns, ...], BeforeValidator(_as_tuple)] = ()

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.lists and not self.protocol:
            raise ValueError("lists needs a protocol")
        if len(set(self.labelled)) < len(self.labelled):
            raise ValueError("labelled names an amount twice")
        return self


class SuiteMethod(Section):
    """A row of the comparison: a method, or a variant of one.

    Attributes:
        name: of the method.
        label: of the row and of the run folders; the method's name unless given.
        recipe: in place of the data set's.
        set: its settings.
        starts_from: settings that take the folder of another run, such as ``method.pretrained``, and the label whose first run
            (first labelled count, first seed, same data set) that is. That run does without the setting, and the others wait for it.
        first: settings of that first run alone, such as how long it pre-trains.
    """

    name: str
    label: Word = ""
    recipe: Texts | None = None
    set: Settings = Field(default_factory=dict)
    starts_from: dict[str, str] = Field(default_factory=dict)
    first: Settings = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _label(cls, values: Any) -> Any:
        return {"label": values.get("name"), **values} if isinstance(values, Mapping) else values


class Suite(Section):
    """A comparison.

    Attributes:
        name: of its file.
        title: for people.
        data: data sets by name, which is the name of their folder in the output too.
        methods: the rows.
        seeds: of the runs.
        set: settings of all runs.
        baseline: label of the method that the others are compared with.
        metrics: that the report shows.
        also: metrics to score beside the usual ones.
        unit: of the distances; None: as the recipes have it.
    """

    name: str
    title: str
    data: dict[Word, SuiteData] = Field(min_length=1)
    methods: Annotated[tuple[SuiteMethod, ...], BeforeValidator(_named), Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], BeforeValidator(_as_tuple)] = (0, 1, 2)
    set: Settings = Field(default_factory=dict)
    baseline: str | None = None
    metrics: Texts = ("dice", "jaccard", "hd95", "asd")
    also: Texts = ()
    unit: Literal["mm", "voxel"] | None = None

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        labels = [method.label for method in self.methods]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"two methods are called {twice[0]!r}; give one of them another label")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must name each seed once, and one at least")
        if taken := {NOTES, REPORT} & {*self.data}:
            raise ValueError(f"no data set can be called {taken.pop()!r}; call it otherwise")
        sources = {label for method in self.methods for label in method.starts_from.values()}
        wanted = [self.baseline] if self.baseline else []
        wanted += [*sources, *(label for data in self.data.values() for label in data.methods or ())]
        wanted += [label for data in self.data.values() for some in data.exceptions for label in some.method or ()]
        for label in wanted:
            if label not in labels:
                raise ValueError(f"there is no method with the label {label!r}: {nearest(label, labels)}")
        for method in self.methods:
            if method.label in sources and {*method.starts_from.values()} - {method.label}:
                raise ValueError(f"others start from {method.label!r}, so it can start from itself only")
        known = (*metric_names(), *EXTRAS)
        for name in (*self.metrics, *self.also):
            if name not in known and not (NSD.fullmatch(name) and name not in self.also):
                raise ValueError(f"there is no metric {name!r}: {nearest(name, known)}")
        return self

    def only(self, names: Sequence[str]) -> Suite:
        """The same on some of its data sets; none named: on all.

        Raises:
            ConfigError: the suite has no data set of that name.
        """
        for name in names:
            if name not in self.data:
                raise ConfigError(f"suite {self.name} has no data set {name!r}: {nearest(name, self.data)}")
        data = {name: one for name, one in self.data.items() if name in names or not names}
        return self.model_copy(update={"data": data})

    def with_data(self, folders: Mapping[str, Path]) -> Suite:
        """The same with folders of data sets.

        Args:
            folders: by name; the name ``""`` is that of the only data set.

        Raises:
            ConfigError: the suite has no data set of that name.
        """
        data = dict(self.data)
        for name, folder in folders.items():
            if not name and len(data) > 1:
                raise ConfigError(
                    f"suite {self.name} has {len(data)} data sets: write --data NAME=FOLDER, with {', '.join(data)}"
                )
            known = name or next(iter(data))
            if known not in data:
                raise ConfigError(f"suite {self.name} has no data set {known!r}: {nearest(known, data)}")
            data[known] = data[known].model_copy(update={"dataset": str(folder.resolve())})
        return self.model_copy(update={"data": data})


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        inner: Any = value
        for part in reversed(key.split(".")):
            inner = {part: inner}
        values = merge(values, inner)
    return values
