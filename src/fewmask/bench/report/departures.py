"""Where the settings of our runs part from a paper's: from its protocol, from the shipped suites that follow it, from a method's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fewmask.bench.jobs import expand
from fewmask.bench.published import Table
from fewmask.bench.report.content import Section
from fewmask.bench.suite_files import find_suite, suite_names
from fewmask.config import Experiment, MethodSection
from fewmask.data.protocols.shelf import protocol_settings
from fewmask.methods import method_config
from fewmask.run_folder import flatten

SIZE = ("network.name", "network.width", "train.iterations")
"""What the shipped suites are asked for beside the protocol: the size of the networks and the length of the training."""

Flat = Mapping[str, Any]


def departures(section: Section, table: Table) -> Iterator[str]:
    """A sentence for what the table's protocol fixes, and one for the size of networks and trainings."""
    ours = {label: [_flat(run.experiment) for run in runs] for label, runs in section.runs.items()}
    fixed = flatten(protocol_settings(table.protocol))
    fixed.pop("evaluation.unit", None)  # said of the distances already
    if told := _unlike(ours, dict.fromkeys(ours, fixed), sorted(fixed)):
        yield f"ours differ from {table.protocol} in {told}"
    suites = shipped(table.protocol, tuple(filter(None, (str(table.labelled), table.share))))
    theirs = {label: suites[method][1] for label in ours if (method := section.runs[label][0].method) in suites}
    if told := _unlike(ours, theirs, SIZE):
        names = " and ".join(sorted({suites[section.runs[label][0].method][0] for label in theirs}))
        yield f"ours differ from the shipped {names} in {told}"


def _unlike(ours: Mapping[str, Sequence[Flat]], theirs: Mapping[str, Flat], keys: Sequence[str]) -> str:
    """Which of the settings are others, key by key; labels are named where not all are alike."""
    told = []
    for key in keys:
        groups: dict[tuple[str, str], list[str]] = {}
        for label, wanted in theirs.items():
            values = [settings[key] for settings in ours[label]]
            if key == "network.name" and None in (*values, wanted[key]):
                continue  # the method's own, or that of the dimensions
            for value in dict.fromkeys(map(_said, values)):
                groups.setdefault((value, _said(wanted[key])), []).append(label)
        told += [
            f"{key} {mine}, there {other}" + (f" ({', '.join(labels)})" if len(groups) > 1 else "")
            for (mine, other), labels in groups.items()
            if mine != other
        ]
    return "; ".join(told)


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_said, value))}]"
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _flat(experiment: Experiment) -> dict[str, Any]:
    return flatten(experiment.model_dump(mode="json"))


@cache
def shipped(protocol: str, amounts: tuple[str, ...]) -> Mapping[str, tuple[str, Flat]]:
    """The shipped suites' settings under a protocol.

    Args:
        protocol: such as ``la/paper``.
        amounts: of labels, in any of the words that a suite may have for it.

    Returns:
        By method, the suite's name and the settings; a comparison goes before an ablation.
    """
    found: dict[str, tuple[str, Flat]] = {}
    for name in sorted(suite_names(), key=lambda name: ("ablation" in name, name)):
        suite = find_suite(name).model_copy(update={"seeds": (0,)})
        data = {
            key: one.model_copy(update={"labelled": tuple(amount for amount in one.labelled if amount in amounts)})
            for key, one in suite.data.items()
            if one.protocol == protocol
        }
        for job in expand(suite.model_copy(update={"data": data}), Path()):
            found.setdefault(job.experiment.method.name, (name, _flat(job.experiment)))
    return found


def stands_for(section: Section, label: str, method: str) -> str:
    """What is to be said of a run under another name that stands in a method's row."""
    own = _method(section.runs[label][0].experiment.method)
    usual = _method(MethodSection(name=method))
    changed = [
        f"{key}={_said(value)}"
        for key, value in own.items()
        if value != usual.get(key)
        and not (isinstance(value, str) and Path(value).is_absolute())  # a run it started from
    ]
    beside = f", with {', '.join(changed)}" if changed else ""
    return f"{label} is our only run of {method} and stands in its row{beside}"


def _method(section: MethodSection) -> dict[str, Any]:
    return flatten(method_config(section).model_dump(mode="json"))
