"""Which labels a run may see. Scarcity is simulated by naming cases: no file is moved or deleted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from fewmask.data.owners import owners_of, warn_of_shared_patients
from fewmask.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fewmask.data.dataset import Dataset


class Split(BaseModel):
    """The cases of an experiment.

    Attributes:
        labelled: trained on with their labels.
        unlabelled: trained on without; a label file that they may have is never opened.
        validation: choose the checkpoint; their labels are part of the label budget.
        test: scored once, at the end.
        seed: that the choice was drawn with; None where nothing was drawn.
        how: one sentence for people.
        protocol: that it follows, such as ``la/paper``; None: none.
        shortcuts: that the cases, or their preparation, take; see `fewmask.data.protocols.shortcuts`.
        patients: the rule by which scans of one patient were kept together: a regular expression whose first group is the patient in
            a case id; ``"none"``: every scan is another's; None: as ``dataset.json`` says, or nobody did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    seed: int | None = None
    how: str = "given case by case"
    protocol: str | None = None
    shortcuts: tuple[str, ...] = ()
    patients: str | None = None

    @model_validator(mode="after")
    def _each_case_once(self) -> Self:
        seen: dict[str, str] = {}
        for part in ("labelled", "unlabelled", "validation", "test"):
            for case in getattr(self, part):
                if case in seen:
                    raise ValueError(f"case {case!r} is in {seen[case]} and in {part}; keep it in one")
                seen[case] = part
        if not self.labelled:
            raise ValueError("no labelled case; name at least one")
        return self

    @classmethod
    def from_values(cls, values: Any, where: str) -> Split:
        """Check plain values, as read from JSON.

        Raises:
            DataError: opens with ``where`` and says what is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())
            raise DataError(f"{where} is not valid ({'; '.join(problems)}); make it anew") from None

    def same_as(self, other: Split) -> bool:
        """Whether another split has the same cases in the same parts, whatever it says of how they were found."""
        return self == other.model_copy(update={"how": self.how, "patients": self.patients})

    def check(self, dataset: Dataset) -> None:
        """Raise DataError where a case is not in the data set, or has no label but needs one."""
        for case in (*self.labelled, *self.validation, *self.unlabelled, *self.test):
            dataset.case(case)
        for case in (*self.labelled, *self.validation):
            if dataset.case(case).label is None:
                raise DataError(f"{dataset.root}: case {case!r} has no label but the split trains or validates with it")


def make_split(
    dataset: Dataset,
    labelled: int | float | None,
    validation: int | float = 0,
    *,
    seed: int = 0,
    ordered: bool = False,
    patients: str | None = None,
) -> Split:
    """Choose cases under a label budget, honestly: the validation labels are paid from the budget too.

    The budget is the start of one random order of all labelled training cases: with one seed a smaller budget is part of
    a larger one. Validation is the start of the budget: two validation cases are the same two for every budget. Training
    cases beyond the budget become unlabelled. A patient's training scans stay together, which may round a number up.

    Args:
        dataset: the data set.
        labelled: the label budget: a number of cases, a fraction in (0, 1] of the labelled cases (rounded up), or None for all.
        validation: a number of cases or a fraction in [0, 1) of the budget, taken out of it.
        seed: of the random order; the order of files on disk plays no part.
        ordered: take ``training_order`` of ``dataset.json`` instead of a random order.
        patients: a regular expression whose first group is the patient in a case id; ``"none"``: every scan is of another patient;
            None: as ``dataset.json`` says, or else as the ids do (`fewmask.data.patients`).

    Raises:
        ConfigError: a number is out of range, the expression does not fit the case ids, or it is in doubt who is in which scan.
        DataError: there are not enough labelled cases, or ``training_order`` is missing or incomplete.
    """
    pool = dataset.ids("train", labelled=True)
    budget, held_out = _budget(dataset, len(pool), labelled, validation)
    owners = owners_of(dataset, patients, validating=held_out > 0)
    groups = _by_patient(_published_order(dataset, pool) if ordered else pool, owners.of)
    if not ordered:
        groups = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    chosen = _take(groups, budget)
    validating = _flat(_take(chosen, held_out))
    seen, hidden = _flat(chosen), _flat(groups[len(chosen) :])
    training = seen[len(validating) :]
    if not training:
        raise DataError(
            f"{dataset.root}: validation takes {len(validating)} of the {len(seen)} labelled cases and leaves "
            "none to train on; raise labelled or lower validation"
        )
    source = "training_order" if ordered else f"seed {seed}"
    told = _sentence((len(seen), len(validating)), (budget, held_out), len(pool), source)
    split = Split(
        labelled=training,
        validation=validating,
        unlabelled=tuple(sorted((*hidden, *dataset.ids("unlabelled")))),
        test=tuple(dataset.ids("test")),
        seed=None if ordered else seed,
        how="; ".join(filter(None, (told, owners.sentence))),
        shortcuts=dataset.description.shortcuts,
        patients=owners.rule,
    )
    warn_of_shared_patients(split, owners)
    dataset.warn_of_lost()
    return split


def _budget(dataset: Dataset, pool: int, labelled: int | float | None, validation: int | float) -> tuple[int, int]:
    """How many cases' labels are seen, and how many of these validate."""
    if not pool:
        raise DataError(
            dataset.lost() or f"{dataset.root}: no scan of imagesTr has a label in labelsTr; add at least one"
        )
    budget = pool if labelled is None else budget_count(labelled, pool, "labelled", up=True)
    if budget > pool:
        raise DataError(
            f"{dataset.root}: {budget} labelled cases are asked for, but only {pool} training cases have labels; "
            "ask for fewer"
        )
    return budget, budget_count(validation, budget, "validation") if validation else 0


def budget_count(value: int | float, total: int, name: str, *, up: bool = False) -> int:
    """A number of cases from a count or a fraction, which gives at least one.

    A share is rounded to the nearest number, or up, as papers do that count their labels in shares.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"{name} is {value!r}; give a number of cases (such as 8) or a fraction (such as 0.1)")
    if isinstance(value, int):
        return value
    if value > 1 or (name == "validation" and value == 1):
        raise ConfigError(
            f"{name} is {value!r}, and a fraction cannot be that large; for {value:g} cases write a whole number"
        )
    return max(1, math.ceil(value * total - 1e-9) if up else round(value * total))


def _published_order(dataset: Dataset, pool: Sequence[str]) -> list[str]:
    order = dataset.description.training_order
    path = dataset.root / "dataset.json"
    if order is None:
        raise DataError(f'{path}: has no "training_order"; add one or let a seed choose')
    missing = sorted(set(pool) - set(order))
    strange = sorted(set(order) - set(dataset.ids("train")) - set(dataset.ids("unlabelled")))
    if missing or strange:
        cases, what = (missing, "lacks") if missing else (strange, "names, but imagesTr lacks,")
        raise DataError(f'{path}: "training_order" {what} {len(cases)} cases, {cases[0]!r} among them; mend the list')
    labelled = set(pool)
    return [case for case in order if case in labelled]


def _by_patient(cases: Sequence[str], owner: Mapping[str, str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for case in cases:
        groups.setdefault(owner[case], []).append(case)
    return list(groups.values())


def _take(groups: list[list[str]], count: int) -> list[list[str]]:
    """Whole patients from the start, until ``count`` cases are reached."""
    taken: list[list[str]] = []
    for group in groups:
        if len(_flat(taken)) >= count:
            break
        taken.append(group)
    return taken


def _flat(groups: list[list[str]]) -> tuple[str, ...]:
    return tuple(case for group in groups for case in group)


def _sentence(taken: tuple[int, int], asked: tuple[int, int], pool: int, source: str) -> str:
    """How a split came about; of both pairs the first number is the label budget, the second its share for validation."""
    seen, validating = taken
    uses = f"{seen - validating} to train on and {validating} to validate" if validating else "all to train on"
    text = f"{seen} of {pool} training labels are seen, chosen by {source}, {uses}" + (
        "; the others are hidden" if seen < pool else ""
    )
    if taken != asked:
        text += f"; {asked[0]} and {asked[1]} to validate were asked for, but a patient's scans stay together"
    return text
