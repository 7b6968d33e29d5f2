"""A split of a data set by a protocol: the published cases where they were published, a seed's where not."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fewmask.data.protocols.schema import Cases, Lists, Protocol, PublicDataset
from fewmask.data.protocols.shelf import find_protocol, read_list
from fewmask.data.protocols.shortcuts import taken
from fewmask.data.split import Split, budget_count
from fewmask.errors import ConfigError, DataError, FewmaskWarning, nearest
from fewmask.words import count

if TYPE_CHECKING:
    from fewmask.data.dataset import Dataset

LISTS_SEED = 0  # of lists that nobody published; --seed draws the labelled cases among them
FEWEST_TO_VALIDATE = 5


@dataclass(frozen=True)
class Parts:
    """The units of lists that a folder holds, and what it lacks."""

    train: list[str]
    validation: list[str]
    test: list[str]
    missing: list[str]


def protocol_split(
    dataset: Dataset,
    name: str,
    labelled: int | float | None = None,
    validation: int | float | None = None,
    *,
    lists: str | None = None,
    seed: int | None = None,
    complete: bool = False,
) -> Split:
    """The split of a protocol under a label budget.

    The labelled units are the first of the published order; where there is none, where the paper draws, or with a seed, they are drawn. What is not in the
    lists is not used.

    Args:
        dataset: a folder that holds the public data set under its published ids, as ``fewmask convert`` writes it.
        name: of the protocol, such as ``la/paper``.
        labelled: the label budget: a number of units, a share of the training units, or None for all.
        validation: a number, or a share, of the budget; None: as the protocol has it.
        lists: others of the data set's lists than the protocol's.
        seed: draw the labelled units instead of taking the published order.
        complete: refuse a folder that lacks published cases, instead of telling.

    Raises:
        ConfigError: there is no such protocol or no such lists, or a number is out of range.
        DataError: the folder holds none of the published cases, or too few.
    """
    known, protocol = find_protocol(name)
    lists_name = lists or protocol.lists
    chosen = _find_lists(known, lists_name)
    of_unit = _cases_of_units(dataset, chosen)
    parts = _parts(dataset, chosen, of_unit)
    _check_present(dataset, known, parts, complete)
    in_order = chosen.ordered and not protocol.drawn and seed is None
    order = parts.train if in_order else draw_order(parts.train, seed or 0, chosen.strata)
    budget, held_out = _budget(dataset, protocol, len(order), labelled, validation)
    extra = parts.validation if protocol.validation == "lists" and validation is None else []
    units = {
        "labelled": order[held_out:budget],
        "validation": extra or order[:held_out],
        "unlabelled": sorted([*order[budget:], *(unit for unit in parts.validation if unit not in extra)]),
        "test": parts.test,
    }
    used = {*protocol.shortcuts, *chosen.shortcuts} - (set() if extra else {"extra-validation"})
    used |= {"shared-origin"} if _is_shared(dataset, of_unit, units) else set()
    return Split(
        **{part: tuple(case for unit in names for case in of_unit[unit]) for part, names in units.items()},
        seed=None if in_order else seed or 0,
        how=f"protocol {name}, lists {lists_name} ({chosen.source}): {_counted(chosen, units, parts, held_out)}",
        protocol=name,
        shortcuts=tuple(dict.fromkeys((*dataset.description.shortcuts, *taken(used)))),
    )


def split_name(made: Split, labelled: str | None, validation: str | None = None, lists: str | None = None) -> str:
    """Such as ``la-paper-8``: the protocol, and what was chosen beside it as it was written on the command line."""
    parts = [(made.protocol or "").replace("/", "-"), *([lists] if lists else []), labelled or "all"]
    parts += [f"val{validation}"] if validation else []
    parts += [f"seed{made.seed}"] if made.seed is not None else []
    return "-".join(parts).replace("%", "percent")


def unit_of(lists: Lists, case: str, patient: str | None) -> str | None:
    """What lists call a case; None where they have no name for it."""
    if lists.unit in ("case", "patient"):
        return case if lists.unit == "case" else patient
    found = re.match(lists.unit, case)
    return found[1] if found else None


def draw_order(units: Sequence[str], seed: int, strata: str | None = None) -> list[str]:
    """A random order of which every beginning holds each kind of unit in its proportion, as nearly as whole units allow.

    It depends on the names and the seed alone.

    Args:
        units: names, in any order.
        seed: of the order.
        strata: a regular expression whose first group is a unit's kind; None: all are of one kind.
    """
    kinds: dict[str, list[str]] = {}
    for unit in sorted(units):
        found = re.search(strata, unit) if strata else None
        kinds.setdefault(found[1] if found else "", []).append(unit)
    generator = np.random.default_rng(seed)
    placed = [
        ((rank + 0.5) / len(members), kind, members[index])
        for kind, members in sorted(kinds.items())
        for rank, index in enumerate(generator.permutation(len(members)))
    ]
    return [unit for _, _, unit in sorted(placed)]


def _find_lists(known: PublicDataset, name: str) -> Lists:
    if name not in known.lists:
        raise ConfigError(f"{known.name} has no lists {name!r}: {nearest(name, known.lists)}")
    return known.lists[name]


def _cases_of_units(dataset: Dataset, lists: Lists) -> dict[str, list[str]]:
    """The cases of the folder under the names that the lists use."""
    known = dataset.description.patients
    units: dict[str, list[str]] = {}
    for case in dataset.cases.values():
        if (unit := unit_of(lists, case.id, known.get(case.id))) is not None:
            units.setdefault(unit, []).append(case.id)
    return units


def _parts(dataset: Dataset, lists: Lists, of_unit: Mapping[str, Sequence[str]]) -> Parts:
    """Test first, then validation, then training: a unit that two parts could take goes to the first."""
    missing: list[str] = []
    left = [unit for unit, cases in of_unit.items() if all(dataset.case(case).label for case in cases)]

    def take(cases: Cases | float | None) -> list[str]:
        if isinstance(cases, float):
            units = draw_order(left, LISTS_SEED, lists.strata)[: round(cases * len(left))]
        else:
            units = _named(dataset, cases, of_unit, left)
        missing.extend(unit for unit in units if unit not in of_unit)
        units = [unit for unit in units if unit in of_unit]
        left[:] = [unit for unit in left if unit not in set(units)]
        return units

    test = take(lists.test)
    validation = take(lists.validation) if lists.validation is not None else []
    train = take(lists.train)
    return Parts(train, validation, test, [unit for unit in missing if unit not in lists.withdrawn])


def _named(
    dataset: Dataset, cases: Cases | None, of_unit: Mapping[str, Sequence[str]], left: Sequence[str]
) -> list[str]:
    if cases is None:
        return sorted(left)
    if cases == "imagesTs":
        tests = set(dataset.ids("test"))
        return sorted(unit for unit in left if tests.issuperset(of_unit[unit]))
    if isinstance(cases, str):
        return read_list(cases)
    return sorted(unit for unit in left if any(re.fullmatch(pattern, unit) for pattern in cases))


def _check_present(dataset: Dataset, known: PublicDataset, parts: Parts, complete: bool) -> None:
    """Refuse a folder that is not this data set; tell of cases that it lacks, because figures then mean something else."""
    there = len(parts.train) + len(parts.test)
    if not parts.train:
        raise DataError(
            f"{dataset.root}: holds no labelled training case of {known.title}; its cases must bear the published ids, "
            f"as `fewmask convert {known.name}` writes them"
        )
    if parts.missing:
        lacks = (
            f"{dataset.root} lacks {count(len(parts.missing), 'published case')} of {there + len(parts.missing)}, "
            f"{parts.missing[0]!r} among them: its figures are not those of the published lists"
        )
        if complete:
            raise DataError(f"{lacks}; complete the download")
        warnings.warn(lacks, FewmaskWarning, stacklevel=3)


def _is_shared(dataset: Dataset, of_unit: Mapping[str, Sequence[str]], units: Mapping[str, Sequence[str]]) -> bool:
    """Whether somebody is on both sides, as far as ``dataset.json`` knows the patients."""
    known = dataset.description.patients
    whose = {part: {known.get(case) for unit in names for case in of_unit[unit]} for part, names in units.items()}
    return bool((whose["test"] & (whose["labelled"] | whose["unlabelled"] | whose["validation"])) - {None})


def _budget(
    dataset: Dataset, protocol: Protocol, pool: int, labelled: int | float | None, asked: int | float | None
) -> tuple[int, int]:
    """How many units' labels are seen, and how many of these validate."""
    budget = pool if labelled is None else budget_count(labelled, pool, "labelled", up=True)
    if budget > pool:
        raise DataError(
            f"{dataset.root}: {budget} labelled are asked for, but there are {pool} to train on; ask for fewer"
        )
    share = asked
    if asked is None and not isinstance(protocol.validation, str) and budget >= FEWEST_TO_VALIDATE:
        share = protocol.validation
    held_out = budget_count(share, budget, "validation") if share else 0
    if held_out >= budget:
        raise DataError(f"{dataset.root}: validation takes all of the {budget} labelled; raise labelled or lower it")
    return budget, held_out


def _counted(lists: Lists, units: Mapping[str, Sequence[str]], parts: Parts, held_out: int) -> str:
    """How many units train, validate and test, for people."""
    kind = "training case" if lists.unit == "case" else "training patient"
    validating = len(units["validation"])
    text = f"{len(units['labelled']) + held_out} of {count(len(parts.train), kind)} labelled"
    text += f", {held_out} of them to validate" if held_out else ""
    text += f", {validating} more with labels to validate" if validating > held_out else ""
    text += f"; {len(units['test'])} to test"
    return text + (f"; {len(parts.missing)} published ones are missing from the folder" if parts.missing else "")
