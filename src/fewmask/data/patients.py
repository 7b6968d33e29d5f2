"""Whose scans they are, as far as the case ids say: which ids name one patient, and how sure that is.

Ids say it by words (``patient001_frame01``, ``P12_left``) or by their form alone (``0012_1``, ``0012_2``). Words are believed where nearly
all ids have them. A form can mean something else, such as a grade and a counter, so of it the user is asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fewmask.data.patient_words import GAP, WORDED, is_kind, is_of_many, tokens
from fewmask.words import count

Verdict = Literal["none", "clear", "doubtful"]
NEARLY_ALL = 0.9  # of the ids; what a rule must fit to be believed
_DEEPEST = 3  # words from the start that can be a patient by form
_SIDE, _LETTER = re.compile(r"(.*\d)[LRlr]"), re.compile(r"(.*\d)[A-Ea-e]")


@dataclass(frozen=True)
class Patients:
    """What the ids of a data set say of patients.

    Attributes:
        verdict: ``"clear"``: scans are kept together by it; ``"doubtful"``: the user is asked; ``"none"``: each id is a patient.
        of: the patient of each id that the rule fits; other ids are patients of their own.
        pattern: the rule as a regular expression whose first group is the patient; empty where there is none.
        groups: the ids of each patient with several.
        total: how many ids there are.
    """

    verdict: Verdict
    of: Mapping[str, str] = field(default_factory=dict)
    pattern: str = ""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    total: int = 0

    def describe(self) -> str:
        """How many patients have several scans, and an example, for people."""
        name, cases = next(iter(self.groups.items()), ("", ()))
        scans = sum(map(len, self.groups.values()))
        shown = ", ".join(cases[:2]) + (", ..." if len(cases) > 2 else "")
        return f"{scans} of {self.total} scans are of {count(len(self.groups), 'patient')} with several, as {shown} of {name!r}"


def find_patients(ids: Iterable[str]) -> Patients:
    """What ids say of patients.

    Args:
        ids: of all scans of a data set, in any order.
    """
    cases = sorted(ids)
    for head in WORDED:
        found = {case: name for case in cases if (name := head(case)) is not None}
        several, fits = len(set(found.values())) > 1, len(found) >= NEARLY_ALL * len(cases)
        if not _groups(found) or (fits and not several and head is WORDED[-1]):
            continue  # nobody twice; or all ids begin alike, which is no patient
        sure = fits and several
        return _patients("clear" if sure else "doubtful", found, cases)
    return _by_letter(cases) or _by_form(cases) or Patients("none", total=len(cases))


def _patients(verdict: Verdict, of: Mapping[str, str], cases: Sequence[str]) -> Patients:
    return Patients(verdict, of, _pattern(of, cases), _groups(of), len(cases))


def _groups(of: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The ids of each patient with several."""
    groups: dict[str, list[str]] = {}
    for case, name in of.items():
        groups.setdefault(name, []).append(case)
    return {name: tuple(cases) for name, cases in groups.items() if len(cases) > 1}


def _share(of: Mapping[str, str], cases: Sequence[str]) -> float:
    """How many ids are of patients with several."""
    return sum(map(len, _groups(of).values())) / max(len(cases), 1)


def _by_letter(cases: Sequence[str]) -> Patients | None:
    """A letter right behind the number: a side (``01L``, ``01R``), or something that only the user knows (``12A``, ``12B``)."""
    for rule, verdict in ((_SIDE, "clear"), (_LETTER, "doubtful")):
        of = {case: found[1] for case in cases if (found := rule.fullmatch(case))}
        if len(of) >= NEARLY_ALL * len(cases) and _share(of, cases) >= 0.5:
            return _patients("clear" if verdict == "clear" else "doubtful", of, cases)
    return None


def _by_form(cases: Sequence[str]) -> Patients | None:
    """Words at the start that some ids share, before words that many of these have: ``0012_1``, ``0012_2``, ``0013_1``."""
    words = {case: tokens(case) for case in cases}
    for depth in range(1, _DEEPEST + 1):
        long = [case for case in cases if len(words[case]) > depth]
        if len(long) < max(NEARLY_ALL * len(cases), 4):
            return None
        heads = {case: case[: words[case][depth - 1].end()] for case in long}
        rests = {case: case[words[case][depth].start() :] for case in long}
        if _share(heads, cases) < 0.5 or len(set(rests.values())) > len(cases) / 2:
            continue
        last = [words[case][depth - 1][0] for case in long]
        if depth == 1 and all(map(is_kind, last)) and _share(rests, cases) >= 0.5:
            return _patients("doubtful", rests, cases)  # the kind of picture stands first
        if _could_be_patients(heads, last):
            return _patients("doubtful", heads, cases)
    return None


def _could_be_patients(heads: Mapping[str, str], last: Sequence[str]) -> bool:
    """Whether what ids begin with is told apart like people: by numbers, or by many words of few scans each; and is no hospital or day."""
    sizes = Counter(heads.values())
    if len(sizes) < 3 or max(sizes.values()) > len(heads) / 2 or sum(map(is_of_many, last)) > len(last) / 2:
        return False
    numbered = sum(any(letter.isdigit() for letter in word) for word in last) >= NEARLY_ALL * len(last)
    return numbered or (len(sizes) >= 5 and max(sizes.values()) <= 5)


def _pattern(of: Mapping[str, str], cases: Sequence[str]) -> str:
    """A regular expression that says the same, as simple as there is one; empty where there is none."""
    forms = {re.sub(r"\d+", r"\\d+", _plain(name)) for name in of.values()}
    depths = {len(tokens(name)) for name in of.values()}
    gaps = GAP.replace("[", "[^")
    tries = [f"^({'|'.join(sorted(forms))})"] if len(forms) <= 3 else []
    tries += [
        f"^({gaps}+(?:{GAP}+{gaps}+){{{depth - 1}}}){GAP}" if depth > 1 else f"^({gaps}+){GAP}" for depth in depths
    ]
    tries += [r"^(.*\d)[A-Za-z]$", f"^{gaps}+{GAP}+(.+)$"]
    for attempt in tries:
        rule = re.compile(attempt)
        if all((found[1] if (found := rule.search(case)) else None) == of.get(case) for case in cases):
            return attempt
    return ""


def _plain(text: str) -> str:
    return re.sub(r"([.^$*+?{}\[\]\\|()])", r"\\\1", text)
