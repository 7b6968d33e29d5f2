"""The words by which a case id names its patient, or one of several scans of a patient."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

GAP = r"[_\-. ()]"
_TOKEN = re.compile(r"[^_\-. ()]+")
_ANY = re.IGNORECASE

_WHO = r"patients?|pats?|pts?|subjects?|subjs?|sub|participants?|person|volunteer|donor|animal|mouse|mice|rat|dog|pig|cases?|pid"
_WHO_AND_NUMBER = re.compile(rf"(?:{_WHO}|p)\d+(?=[a-z]|$)", _ANY)
_WHO_ALONE, _NUMBER = re.compile(_WHO, _ANY), re.compile(r"\d+")

# What there can be several of in one patient: times, sides, places in the body or the scan, kinds of picture.
_ANYWHERE = r"frame|slices?|visit|session|timepoint|followup|baseline|left|right|preop|postop|od|os"
_NUMBERED = r"[tvdwyz]|m"
_PART = re.compile(
    rf"(?:(?:{_ANYWHERE}|fr|sess?|vis|time|tp|scan|exam|study|day|week|wk|month|mo|year|yr|run|acq|bl|follow|fu|pre|post|phase|ph|ed|es|"
    r"mr|ct|pet|l|r|lt|rt|lh|rh|[lr]?cc|[lr]?mlo|slc|sl|crop|tile|patch|roi|region|lesion|nodule|tumou?r|mass|polyp|node|view|series|ser|"
    r"image|img|im|axial|ax|tra|coronal|cor|sagittal|sag|sa|la|sax|lax|t1w|t1c|t1ce|t1gd|t2w|flair|dwi|adc|dce|swi|pd)\d*"
    rf"|(?:{_NUMBERED})\d+|[234]ch)",
    _ANY,
)
_STRONG = re.compile(rf"(?:{_ANYWHERE})\d*", _ANY)
_KIND = re.compile(r"t[12]w?|t1c|t1ce|t1gd|flair|dwi|adc|pd|ct|mr|pet|left|right|l|r|od|os", _ANY)

# Of a hospital, a part of a study or a day there are many patients.
_MANY = re.compile(
    r"(?:sites?|hosp(?:ital)?|cent(?:er|re)|clinic|vendor|scanner|fold|batch|cohort|groups?|class|grade|type|stage|dataset|task|lab)[a-z0-9]*"
    r"|(?:train|training|tr|test|testing|ts|val|valid|validation|dev)"
    r"|(?:19|20)\d\d(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))?",
    _ANY,
)

Head = Callable[[str], str | None]
"""The patient in a case id; None where the id does not say it."""


def tokens(case: str) -> list[re.Match[str]]:
    """The words and numbers of an id between its gaps."""
    return list(_TOKEN.finditer(case))


def _as_known(case: str) -> str | None:
    found = _KNOWN.match(case)
    return found[found.lastindex or 0] if found else None


_KNOWN = re.compile(
    r"(sub-[A-Za-z0-9]+)_"  # BIDS
    r"|(TCGA[-_][A-Z0-9]{2}[-_][A-Z0-9]{4})[^A-Za-z0-9]"  # the Cancer Genome Atlas: place, patient, sample
    r"|((?:ADNI_)?\d{3}_S_\d{4})(?!\d)."  # ADNI: place, S, patient
    r"|(BraTS-[A-Za-z]+-\d{5})-\d{3}$"  # BraTS since 2023: kind of tumour, patient, time
)


def _by_who(case: str) -> str | None:
    """Up to the number behind a word for a patient, where more follows: ``patient001`` of ``patient001_frame01``."""
    words = tokens(case)
    for word, after in zip(words, [*words[1:], None], strict=True):
        end = None
        if found := _WHO_AND_NUMBER.match(word[0]):
            end = word.start() + found.end()
        elif after and _WHO_ALONE.fullmatch(word[0]) and _NUMBER.fullmatch(after[0]):
            end = after.end()
        if end is not None:
            return case[:end] if end < len(case) else None
    return None


def _by_part(case: str) -> str | None:
    """Up to the first word for one of several scans: ``IMG_0001`` of ``IMG_0001_R``; a number, or a clear word, must tell that it is one."""
    words = tokens(case)
    for before, word in pairwise(words):
        head = case[: before.end()]
        kind = word[0]
        if not (_PART.fullmatch(kind) or (_KIND.fullmatch(kind) and before[0].isdigit())):
            continue
        if any(letter.isdigit() for letter in head) or _STRONG.fullmatch(kind):
            return None if before is words[0] and is_of_many(before[0]) else head
    return None


WORDED: tuple[Head, ...] = (_as_known, _by_who, _by_part)
"""Ways to name a patient by words, in the order in which they are believed."""


def is_of_many(word: str) -> bool:
    """Whether a word is a hospital, a part of a study or a date, of which there are many patients."""
    return _MANY.fullmatch(word) is not None


def is_kind(word: str) -> bool:
    """Whether a word is a kind of picture or a side."""
    return _KIND.fullmatch(word) is not None
