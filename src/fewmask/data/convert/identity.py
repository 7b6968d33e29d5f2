"""Whose a DICOM object is: enough to keep two patients apart and one together, and nothing of it is written anywhere."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

# What exports and anonymisers put where a name or number was; it tells nobody apart.
_NOBODY = re.compile(
    r"anon|anonym|anonymous|anonymi[sz]ed|unknown|none|null|nil|n/?a|de-?identified|removed|no ?(name|id)|patient ?(id|name)?|"
    r"(?P<filler>[0x*?._-])(?P=filler)*"
)


class Identity(NamedTuple):
    """What headers say of a patient, each in small letters; empty where they don't.

    Attributes:
        number: PatientID.
        name: PatientName.
        birth: PatientBirthDate.
    """

    number: str
    name: str
    birth: str

    @classmethod
    def of(cls, number: str, name: str, birth: str) -> Identity:
        """From the header's values; what stands there for nobody counts as empty."""
        return cls(*(_known(value) for value in (number, name, birth)))

    @property
    def is_known(self) -> bool:
        """Whether it tells a patient from another; a birth date alone does not."""
        return bool(self.number or self.name)

    def is_same(self, other: Identity) -> bool:
        """Whether two scans are of one patient, whatever way their names are spelled."""
        if not (self.number and other.number):
            return bool(self.name and self.birth) and (self.name, self.birth) == (other.name, other.birth)
        if self.number != other.number:
            return False
        if self.birth and other.birth:
            return self.birth == other.birth
        return not (self.name and other.name) or self.name == other.name

    def may_be(self, other: Identity) -> bool:
        """Whether two scans of one folder are of one patient; more is believed there, such as a name alone."""
        if self.birth and other.birth and self.birth != other.birth:
            return False
        if self.number and other.number and self.number != other.number:
            return bool(self.name and self.birth) and (self.name, self.birth) == (other.name, other.birth)
        return self.number == other.number != "" or self.name == other.name != ""


def _known(value: str) -> str:
    plain = re.sub(r"[\s^=\0]+", " ", value).strip().casefold()
    return "" if _NOBODY.fullmatch(plain) else plain


def shared_patients(names: Sequence[str], tops: Sequence[str | None], whose: Sequence[Identity]) -> list[str | None]:
    """A token for each scan whose patient has several; it is made of folders' and cases' names, and tells nobody's identity.

    Args:
        names: of the cases.
        tops: the folder that each came in; None where all came in one.
        whose: what the headers say. They go first; folders count where they say nothing.
    """
    groups = _Groups(len(names))
    _join_same(groups, whose)
    _join_folders(groups, tops, whose)
    members = defaultdict(list)
    for place in range(len(names)):
        members[groups.root(place)].append(place)
    tokens: list[str | None] = [None] * len(names)
    used: set[str] = set()
    for places in members.values():
        if len(places) == 1:
            continue
        top = tops[places[0]]
        alone = top is not None and {place for place, other in enumerate(tops) if other == top} == set(places)
        token = str(top) if alone else names[places[0]]
        while token in used:
            token += "+"
        used.add(token)
        for place in places:
            tokens[place] = token
    return tokens


class _Groups:
    """Sets of places that grow together."""

    def __init__(self, count: int) -> None:
        self.parents = list(range(count))

    def root(self, place: int) -> int:
        while self.parents[place] != place:
            place = self.parents[place]
        return place

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.root(one), self.root(other)))
        self.parents[second] = first


def _join_same(groups: _Groups, whose: Sequence[Identity]) -> None:
    places = range(len(whose))
    _join_alike(groups, whose, places, lambda who: ((who.number,), (who.name, who.birth)), Identity.is_same)


def _join_alike(
    groups: _Groups,
    whose: Sequence[Identity],
    places: Iterable[int],
    keys: Callable[[Identity], Iterable[tuple[str, ...]]],
    same: Callable[[Identity, Identity], bool],
) -> None:
    """Join what shares a key and is the same; each identity is compared once."""
    alike: dict[tuple[int, tuple[str, ...]], dict[Identity, int]] = defaultdict(dict)
    for place in places:
        for number, key in enumerate(keys(whose[place])):
            if all(key):
                groups.join(place, alike[number, key].setdefault(whose[place], place))
    for found in alike.values():
        for (one, here), (other, there) in combinations(found.items(), 2):
            if same(one, other):
                groups.join(here, there)


def _join_folders(groups: _Groups, tops: Sequence[str | None], whose: Sequence[Identity]) -> None:
    """Scans without an identity belong to the other ones of their folder, unless several patients lie there."""
    inside = defaultdict(list)
    for place, top in enumerate(tops):
        if top is not None:
            inside[top].append(place)
    for places in inside.values():
        _join_alike(groups, whose, places, lambda who: ((who.number,), (who.name,)), Identity.may_be)
        nobody = [place for place in places if not whose[place].is_known]
        known = {groups.root(place) for place in places if whose[place].is_known}
        for place in [*nobody[1:], *(known if len(known) == 1 else ())]:
            if nobody:
                groups.join(nobody[0], place)
