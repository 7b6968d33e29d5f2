"""The patient of every scan of a data set: as the user says, else as ``dataset.json`` says, else as the case ids say."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fewmask.data.patients import Patients, find_patients
from fewmask.errors import ConfigError, FewmaskWarning

if TYPE_CHECKING:
    from fewmask.data.dataset import Dataset
    from fewmask.data.split import Split

NOBODY = "none"  # what the user says where every scan is of another patient


@dataclass(frozen=True)
class Owners:
    """Who is in which scan.

    Attributes:
        of: the patient of every case; a case of which nothing is known is its own patient.
        rule: what a split keeps on record: a regular expression, ``"none"``, or None where ``dataset.json`` says it or nobody does.
        sentence: what was found in the ids, for people; empty where nothing was.
    """

    of: Mapping[str, str]
    rule: str | None = None
    sentence: str = ""


def owners_of(dataset: Dataset, patients: str | None, *, validating: bool) -> Owners:
    """The patient of every case.

    Args:
        dataset: the data set.
        patients: a regular expression whose first group is the patient in a case id; ``"none"``: every case is another's; None: see
            the module.
        validating: whether training cases will validate, so that it matters.

    Raises:
        ConfigError: the expression does not fit the ids; or nobody says it, and the ids leave it in doubt where it matters.
    """
    if patients == NOBODY:
        return Owners(_alone(dataset.cases), NOBODY)
    if patients is not None:
        return Owners(_by_expression(dataset, patients), patients)
    known = dataset.description.patients
    if known or dataset.description.unrelated:
        return Owners({case: f"patient {known[case]}" if case in known else f"case {case}" for case in dataset.cases})
    found = find_patients(dataset.cases)
    if found.verdict == "doubtful" and (validating or _crosses(dataset, found)):
        raise ConfigError(f"{dataset.root}: {in_doubt(found)}")
    if found.verdict != "clear":
        return Owners(_alone(dataset.cases))
    of = {case: f"patient {found.of[case]}" if case in found.of else f"case {case}" for case in dataset.cases}
    return Owners(of, found.pattern or None, f"scans of one patient stay together, and by their ids {found.describe()}")


def in_doubt(found: Patients) -> str:
    """What the user has to say where ids leave it in doubt who is in which scan."""
    rule = f"'{found.pattern}'" if found.pattern else "REGEX"
    return (
        f"it may be, going by their ids, that {found.describe()}, and one patient's scans must not train and validate; say --patients {rule} if it "
        f'is so, --patients none if not (in Python patients=...), or write "patients" into dataset.json'
    )


def known_owners(dataset: Dataset, split: Split) -> Owners:
    """The patients as far as they are beyond doubt, for a split that was made before."""
    if split.patients == NOBODY:
        return Owners(_alone(dataset.cases), NOBODY)
    if split.patients is not None and not dataset.description.patients:
        try:
            rule = re.compile(split.patients)
        except re.error:
            return Owners(_alone(dataset.cases))
        found = {case: match[1] for case in dataset.cases if (match := rule.search(case)) and rule.groups and match[1]}
        of = {case: f"patient {found[case]}" if case in found else f"case {case}" for case in dataset.cases}
        return Owners(of, split.patients)
    try:
        return owners_of(dataset, None, validating=False)
    except ConfigError:
        return Owners(_alone(dataset.cases))


def warn_of_shared_patients(split: Split, owners: Owners) -> None:
    """Scans of one patient on both sides of an evaluation make its figures too good."""
    seen = {owners.of[case] for case in (*split.labelled, *split.unlabelled)}
    for part in ("validation", "test"):
        shared = [case for case in getattr(split, part) if owners.of[case] in seen]
        if shared:
            rule = f" (by the rule {owners.rule} in their ids)" if owners.rule else ""
            warnings.warn(
                f"{len(shared)} {part} cases, {shared[0]!r} among them, are of patients that are also trained on{rule}; "
                "their scores will be too good",
                FewmaskWarning,
                stacklevel=4,
            )


def _alone(cases: Iterable[str]) -> dict[str, str]:
    return {case: f"case {case}" for case in cases}


def _crosses(dataset: Dataset, found: Patients) -> bool:
    """Whether somebody would be in test scans and in others."""
    test = set(dataset.ids("test"))
    return any(0 < len(test.intersection(cases)) < len(cases) for cases in found.groups.values())


def _by_expression(dataset: Dataset, patients: str) -> dict[str, str]:
    try:
        pattern = re.compile(patients)
    except re.error as error:
        raise ConfigError(f"patients {patients!r} is not a regular expression ({error}); try '(.+)_scan'") from None
    if pattern.groups < 1:
        raise ConfigError(
            f"patients {patients!r} has no group; put parentheses around the patient's part, as in '(.+)_scan'"
        )
    owners = {}
    for case in dataset.cases:
        found = pattern.search(case)
        if found is None or found[1] is None:
            raise ConfigError(f"patients {patients!r} does not fit the case id {case!r}; write one that fits every id")
        owners[case] = found[1]
    return owners
