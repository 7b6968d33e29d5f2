"""The published splits of a data set, looked up by its name in `fewmask.data.protocols`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from fewmask.data.convert.base import Source
from fewmask.data.dataset import Dataset
from fewmask.data.protocols import find_public
from fewmask.data.protocols.shelf import read_list
from fewmask.data.protocols.split import protocol_split, split_name, unit_of
from fewmask.data.split import Split
from fewmask.errors import DataError


def published_test(name: str | None, cases: Sequence[Source]) -> frozenset[str]:
    """The cases on which the field tests; they go to ``imagesTs``. Empty where nobody published a list.

    Args:
        name: of the data set; None: it is no public one.
        cases: of the conversion.
    """
    if name is None:
        return frozenset()
    known = find_public(name)
    lists = known.lists[known.protocols["paper"].lists]
    if isinstance(lists.test, float) or lists.test == "imagesTs":  # drawn by a split, or placed by the converter
        return frozenset()
    named = frozenset(read_list(lists.test)) if isinstance(lists.test, str) else None
    patterns = () if isinstance(lists.test, str) else lists.test

    def tested(case: Source) -> bool:
        unit = unit_of(lists, case.id, case.patient)
        if unit is None:
            return False
        return unit in named if named is not None else any(re.fullmatch(pattern, unit) for pattern in patterns)

    return frozenset(case.id for case in cases if tested(case))


def published_order(name: str | None, cases: Sequence[Source]) -> tuple[str, ...] | None:
    """The published order in which training cases get labels, where it names just those of ``imagesTr``."""
    known = find_public(name) if name else None
    lists = known.lists[known.protocols["paper"].lists] if known else None
    if lists is None or not lists.ordered or lists.unit != "case" or not isinstance(lists.train, str):
        return None
    order, here = read_list(lists.train), {case.id for case in cases if case.group == "train" and case.labelled}
    return tuple(order) if set(order) == here else None


def published_notes(name: str | None, splits: Collection[str]) -> list[str]:
    """What the user should know of the lists: whose they are, that some were drawn, that none fits these cases.

    Args:
        name: of the data set; None: it is no public one.
        splits: names of those that were saved.
    """
    if name is None:
        return []
    known = find_public(name)
    told = [f"lists {short}: {lists.source}" for short, lists in known.lists.items() if lists.drawn]
    if not splits:
        told.append(f"no published split was saved, because cases are missing; see `fewmask datasets show {name}`")
    return told


def published_splits(name: str | None, dataset: Dataset) -> dict[str, Split]:
    """The splits of a data set under its protocols and published budgets, where all of their cases are here."""
    made: dict[str, Split] = {}
    known = find_public(name) if name else None
    for short, protocol in known.protocols.items() if known else ():
        for budget in protocol.labelled:
            amount = float(budget.rstrip("%")) / 100 if isinstance(budget, str) else budget
            try:
                split = protocol_split(dataset, f"{name}/{short}", amount, complete=True)
                split.check(dataset)
            except DataError:  # cases are missing: it would not be the published one
                continue
            made[split_name(split, str(budget))] = split
    return made
