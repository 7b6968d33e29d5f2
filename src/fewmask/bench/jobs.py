"""From a suite to its jobs: one a run folder, with all that the run is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewmask.bench.suite import NOTES, Suite, SuiteData, SuiteMethod, nested
from fewmask.config import Experiment, MethodSection, load_experiment, merge, read_yaml, validate
from fewmask.data.protocols.shelf import find_protocol, protocol_settings
from fewmask.data.protocols.split import protocol_split
from fewmask.data.split import Split
from fewmask.errors import ConfigError
from fewmask.files import read_json
from fewmask.methods import method_config
from fewmask.recipes import recipe_names, recipe_path
from fewmask.run_folder import RunFolder, flatten
from fewmask.words import parse_amount

if TYPE_CHECKING:
    from fewmask.data.dataset import Dataset


@dataclass(frozen=True)
class SplitRule:
    """How a job's split is made from its data set.

    Attributes:
        labelled: the budget.
        val: its part for validation; None: nothing, or as the protocol has it.
        seed: of the choice; None: the published order.
        protocol: that it follows.
        lists: of the protocol's data set.
    """

    labelled: str
    val: str | None
    seed: int | None
    protocol: str | None = None
    lists: str | None = None

    def split(self, dataset: Dataset) -> Split:
        """The split.

        Raises:
            ConfigError: an amount is out of range.
            DataError: the data set does not hold what the protocol names, or too little.
        """
        labelled, val = parse_amount(self.labelled, "labelled"), parse_amount(self.val, "val")
        if self.protocol:
            return protocol_split(dataset, self.protocol, labelled, val, lists=self.lists, seed=self.seed)
        return dataset.split(labelled=labelled, validation=val or 0, seed=self.seed or 0, ordered=self.seed is None)


@dataclass(frozen=True)
class Place:
    """Where a run stands in a comparison.

    Attributes:
        data: name of the data set in the suite.
        labelled: the budget as the suite has it.
        label: the method's row.
        seed: of the run.
    """

    data: str
    labelled: str
    label: str
    seed: int

    @property
    def path(self) -> Path:
        """Such as ``la/4/cps-seed0``, below the output."""
        return Path(self.data, self.labelled.replace("%", "percent"), f"{self.label}-seed{self.seed}")

    def __str__(self) -> str:
        """The same as text."""
        return self.path.as_posix()


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a comparison.

    Attributes:
        place: data set, labelled count, method and seed.
        folder: the run folder.
        notes: where its log and its state lie.
        experiment: the settings.
        rule: how its split is made.
        starts_from: settings that hold the folder of another run, and that folder.
        alone: the settings with which it would start from no other; None: it does not anyway.
        also: metrics to score beside the usual ones.
    """

    place: Place
    folder: Path
    notes: Path
    experiment: Experiment
    rule: SplitRule
    starts_from: dict[str, Path]
    alone: Experiment | None
    also: tuple[str, ...]

    @property
    def devices(self) -> int:
        """Processes that train it."""
        return self.experiment.train.devices

    @property
    def summary(self) -> Path:
        """The last file of the work: the mean scores."""
        return RunFolder(self.folder).predictions / "summary.json"

    @property
    def scored(self) -> bool:
        """Whether the last file of the work is there, with all that was to be scored."""
        if not self.also:
            return self.summary.is_file()
        try:
            return {*self.also} <= {*read_json(self.summary)["mean"]["metrics"]}
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def as_found(self) -> Experiment:
        """The settings as they would stand in the run folder that is there already.

        What only the data decide, and where the run lies that it started from, is taken from there. A run that did alone what it could
        have taken from another is as good.
        """
        run = RunFolder(self.folder).experiment()
        found = flatten(run.model_dump(mode="json"))
        taken = {key: found[key] for key in self.starts_from if found.get(key) is not None}
        asked = self.experiment if taken or self.alone is None else self.alone
        method = MethodSection(name=asked.method.name, **method_config(asked.method).model_dump(mode="json"))
        values = merge(asked.model_dump(mode="json"), {"method": method.model_dump(mode="json")})
        for key, open_value in (("sampling.patch_size", None), ("preprocess.spacing", "median")):
            if flatten(values)[key] == open_value:
                values = merge(values, nested({key: found[key]}))
        return load_experiment(changes=merge(values, nested(taken)))

    def check_same(self, split: Split | None = None) -> None:
        """Refuse a run folder that was made with other settings, or of another split.

        Args:
            split: the one of now; None: it is not looked at.

        Raises:
            ConfigError: says what differs.
            RunError: the folder is damaged.
        """
        run = RunFolder(self.folder)
        if run.started and (
            run.created or run.resumable or self.scored
        ):  # else it was killed while it wrote its settings, and begins anew
            run.check_same(self.as_found(), run.split() if split is None else split)


def expand(suite: Suite, output: Path) -> list[Job]:
    """The jobs of a suite: data sets, labelled counts, seeds, methods, from the outermost to the innermost.

    Args:
        suite: the comparison.
        output: folder of the run folders.

    Raises:
        ConfigError: a method, recipe, protocol or setting is not valid.
    """
    recipes = cache(_recipe)
    return [
        _job(suite, output, Place(name, labelled, method.label, seed), method, recipes)
        for name, data in suite.data.items()
        for labelled in data.labelled
        for seed in suite.seeds
        for method in suite.methods
        if _runs(data, method, labelled)
    ]


def _runs(data: SuiteData, method: SuiteMethod, labelled: str) -> bool:
    if data.methods is not None and method.label not in data.methods:
        return False
    return not any(some.skip and some.applies(method.label, labelled) for some in data.exceptions)


Recipes = Callable[[tuple[str, ...], str, str], tuple[Path, dict[str, Any]]]


def _job(suite: Suite, output: Path, place: Place, method: SuiteMethod, recipes: Recipes) -> Job:
    data = suite.data[place.data]
    sources = {key: _first(suite, place.data, label) for key, label in method.starts_from.items()}
    starts = {key: (output / source.path).resolve() for key, source in sources.items() if source != place}
    path, recipe = recipes(method.recipe or data.recipe, method.name, place.labelled)

    def experiment(last: Mapping[str, Any]) -> Experiment:
        changes = protocol_settings(data.protocol) if data.protocol else {}
        settings_of_suite = _settings(suite, data, method, place)
        for settings in ({"method.name": method.name}, *settings_of_suite, last, {"train.seed": place.seed}):
            changes = merge(changes, nested(settings))
        checked: Experiment = validate(Experiment, merge(recipe, changes), f"{place}, from {path}")
        method_config(checked.method)
        return checked

    alone = experiment(method.first)
    return Job(
        place,
        output / place.path,
        output / NOTES / place.path,
        experiment({key: str(folder) for key, folder in starts.items()}) if starts else alone,
        SplitRule(place.labelled, data.val, None if _is_ordered(data) else place.seed, data.protocol, data.lists),
        starts,
        alone if starts else None,
        suite.also,
    )


def _settings(suite: Suite, data: SuiteData, method: SuiteMethod, place: Place) -> Iterator[dict[str, Any]]:
    """From the most general to the most special."""
    if suite.unit:
        yield {"evaluation.unit": suite.unit}
    yield suite.set
    yield data.set
    yield method.set
    for some in data.exceptions:
        if some.applies(method.label, place.labelled):
            yield some.set


def _first(suite: Suite, name: str, label: str) -> Place:
    """The first run of a label on a data set.

    Raises:
        ConfigError: it has none there.
    """
    data = suite.data[name]
    method = next(method for method in suite.methods if method.label == label)
    for labelled in data.labelled:
        if _runs(data, method, labelled):
            return Place(name, labelled, label, suite.seeds[0])
    raise ConfigError(f"suite {suite.name}: runs on {name} start from {label!r}, which does not run there")


def _is_ordered(data: SuiteData) -> bool:
    if data.ordered is not None or not data.protocol:
        return bool(data.ordered)
    known, protocol = find_protocol(data.protocol)
    lists = data.lists or protocol.lists
    return lists in known.lists and known.lists[lists].ordered and not protocol.drawn


def _recipe(names: tuple[str, ...], method: str, labelled: str) -> tuple[Path, dict[str, Any]]:
    """The first recipe that is there, and what it says; the error is that of the last."""
    wanted = [name.replace("{method}", method).replace("{labelled}", labelled) for name in names]
    known = recipe_names()
    name = next((name for name in wanted if name in known or Path(name).is_file()), wanted[-1])
    path = recipe_path(name)
    return path, read_yaml(path)
