"""What a reader should know before believing a comparison: what makes the runs of a setting less than comparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from fewmask.run_folder import FREE, flatten
from fewmask.words import listed

if TYPE_CHECKING:  # which imports this module
    from fewmask.bench.report.content import BenchRun, Section

MOST = 4  # names in a row
SHARED = ("preprocess.", "sampling.", "augment.", "network.", "train.", "inference.")
"""Settings that are no part of a method."""
ELSEWHERE = (*FREE, "train.seed", "train.iterations", "train.memory_format")
"""Those that change no result, or are told by another remark."""


def of_unscored(late: Sequence[BenchRun], total: int) -> Iterator[str]:
    """Runs that cannot be in the report yet."""
    if late:
        names = ", ".join(f"{run.path.parent.name}/{run.path.name}" for run in late[:6])
        more = f" and {len(late) - 6} more" if len(late) > 6 else ""
        yield f"{len(late)} of {total} runs have no scores yet and are left out: {names}{more}."


def of_section(section: Section) -> Iterator[str]:
    """What makes the runs of a setting less than comparable."""
    where = f"{section.heading}: "
    yield from (f"{where}{text}" for text in (*_of_seeds(section), *_of_settings(section)))
    if unlike := [str(seed) for seed, choices in section.labelled_by_seed.items() if len(choices) > 1]:
        yield (
            f"{where}not all learn from the same labelled cases under one seed ({', '.join(unlike)}), so a difference may be that of the cases."
        )
    for label, runs in section.runs.items():
        missing = sum(len(run.scores.missing) for run in runs if run.scores)
        if missing:
            yield f"{where}{label} lacks {missing} predictions; they count as all background."
        stopped = [run for run in runs if run.iterations and run.iterations < run.experiment.train.iterations]
        if stopped:
            yield f"{where}{label} was stopped early in {len(stopped)} of {len(runs)} runs."
    budgets = {
        label: ", ".join(map(str, sorted({run.experiment.train.iterations for run in runs})))
        for label, runs in section.runs.items()
    }
    if len({*budgets.values()}) > 1:
        yield f"{where}not all were trained for as long (iterations: {_by_value(budgets)})."


def _of_seeds(section: Section) -> Iterator[str]:
    seeds = {label: ", ".join(map(str, sorted(numbers))) for label, numbers in section.seeds.items()}
    if len({*seeds.values()}) < 2:
        return
    scores = next(iter(section.scores.values()))
    apart = [pair for pair in combinations(section.labels, 2) if scores.common_seeds(*pair) == ()]
    more = f" and {len(apart) - MOST} other pairs" if len(apart) > MOST else ""
    strangers = ", ".join(f"{first} and {second}" for first, second in apart[:MOST]) + more
    none = f" Those that have none in common are not compared ({strangers})." if apart else ""
    yield (
        f"not all were run with the same seeds ({_by_value(seeds)}). Two of them are compared on the seeds that both have.{none}"
    )


def _of_settings(section: Section) -> Iterator[str]:
    """Where more than the method differs from the baseline (without one: from the first label)."""
    base, *others = sorted(section.labels, key=lambda label: label != section.baseline)
    usual = _shared(section, base)
    groups: dict[tuple[str, ...], list[str]] = {}
    for label in others:
        own = _shared(section, label)
        odd = tuple(f"{key} ({own[key]}, not {usual[key]})" for key in sorted(usual) if own[key] != usual[key])
        if odd:
            groups.setdefault(odd, []).append(label)
    if not groups:
        return
    parts = [f"{_named(labels, len(others))} in {_some(odd)}" for odd, labels in groups.items()]
    yield (
        f"not only the method differs from {base}: {_some(parts, '; ', ' more groups')}. What the tests find there is not the "
        "method’s alone; all settings stand under Protocol and shortcuts."
    )


def _shared(section: Section, label: str) -> dict[str, str]:
    """A label's settings that are no part of its method, as text; of several runs all values."""
    found: dict[str, dict[str, None]] = {}
    for run in section.runs[label]:
        for key, value in flatten(run.experiment.model_dump(mode="json")).items():
            if key.startswith(SHARED) and key not in ELSEWHERE:
                found.setdefault(key, {})[_plain(key, value)] = None
    return {key: " or ".join(values) for key, values in found.items()}


def _plain(key: str, value: Any) -> str:
    """A setting as people say it."""
    if value is None:  # a network's own choice
        return "the default" if key.startswith("network.") else "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _some(parts: Sequence[str], between: str = ", ", more: str = " more") -> str:
    left = len(parts) - MOST
    if left > 1:
        return f"{between.join(parts[:MOST])} and {left}{more}"
    return between.join(parts) if between != ", " else listed(parts)


def _named(labels: Sequence[str], of: int) -> str:
    return "all others" if len(labels) == of > 1 else _some(labels)


def _by_value(values: Mapping[str, str]) -> str:
    """Labels by what they have; the most of them are not named where they are many."""
    groups: dict[str, list[str]] = {}
    for label, value in values.items():
        groups.setdefault(value, []).append(label)
    most = max(groups.values(), key=len)
    names = {
        value: f"the other {len(labels)}" if labels is most and len(labels) > MOST else _some(labels)
        for value, labels in groups.items()
    }
    return "; ".join(f"{value}: {names[value]}" for value in sorted(groups, key=lambda value: groups[value] is most))
