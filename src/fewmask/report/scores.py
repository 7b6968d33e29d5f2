"""The scores of a run, as `fewmask evaluate` wrote them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from fewmask.errors import RunError
from fewmask.files import read_json
from fewmask.whole import digest_of

COUNTS = ("absent", "missed", "spurious")


@dataclass(frozen=True)
class CaseScore:
    """One class of one case: its status and its metrics; None where the class is absent."""

    status: str
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class Scores:
    """What `fewmask.metrics.Evaluation.write` wrote.

    Attributes:
        folder: where the two files lie.
        unit: of the distances, ``mm``, ``voxel``, or ``px`` of pictures that say nothing of their size.
        classes: per foreground class the entry of ``summary.json``: counts and ``metrics``.
        overall: the same over all classes.
        cases: per case and class the score.
        missing: cases without a prediction, scored as all background.
        definitions: what each metric means.
    """

    folder: Path
    unit: str
    classes: Mapping[str, Mapping[str, Any]]
    overall: Mapping[str, Any]
    cases: Mapping[str, Mapping[str, CaseScore]]
    missing: tuple[str, ...]
    definitions: Mapping[str, str]

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics in their order."""
        return tuple(self.overall["metrics"])

    def case_mean(self, case: str, metric: str = "dice") -> float | None:
        """A metric's mean over the classes of a case; None for a case without any class, or that is not scored."""
        values = [score.metrics.get(metric) for score in self.cases.get(case, {}).values()]
        known = [value for value in values if value is not None]
        return fmean(known) if known else None

    def value(self, case: str, metric: str, class_name: str | None = None) -> float:
        """A metric of a class of a case, or its mean over the classes; NaN where there is nothing to score."""
        if class_name is None:
            found = self.case_mean(case, metric)
        else:
            score = self.cases.get(case, {}).get(class_name)
            found = score.metrics.get(metric) if score else None
        return math.nan if found is None else found


def read_scores(run: Path) -> Scores | None:
    """The scores of a run, from its ``predictions`` folder or, failing that, from the run folder itself.

    Args:
        run: the run folder.

    Returns:
        None where the run was not scored.

    Raises:
        RunError: only one of ``scores.csv`` and ``summary.json`` is there, or one is not what it should be.
    """
    for folder in (run / "predictions", run):
        table, summary = folder / "scores.csv", folder / "summary.json"
        if table.is_file() and summary.is_file():
            return _read(folder, table, summary)
        if table.is_file() or summary.is_file():
            there, lacking = (table, summary) if table.is_file() else (summary, table)
            raise RunError(f"{there} is there, but {lacking.name} is missing: run fewmask evaluate again")
    return None


def _read(folder: Path, table: Path, summary: Path) -> Scores:
    try:
        about = read_json(summary)
        classes, overall = about["classes"], about["mean"]
        _check_entries(classes, overall)
        unit, missing = str(about["unit"]), tuple(map(str, about["missing_predictions"]))
        definitions = {str(name): str(text) for name, text in about["definitions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _odd(summary, error) from None
    try:
        text = table.read_bytes().decode()
        if "scores" in about and digest_of(text) != about["scores"]:
            raise ValueError(f"it is not the table that {summary.name} was written with")
        cases = _read_cases(text)
        if len(cases) != about["cases"] or any(set(scores) != set(classes) for scores in cases.values()):
            raise ValueError(f"it lacks rows of the {about['cases']} cases of {summary.name}")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise _odd(table, error) from None
    return Scores(folder, unit, classes, overall, cases, missing, definitions)


def _check_entries(classes: Mapping[str, Any], overall: Mapping[str, Any]) -> None:
    """Touch and convert every number that the page shows, so that a wrong file is named here and not in a template."""
    for entry in (*classes.values(), overall):
        for count in ("n", *COUNTS):
            int(entry[count])
        for name in ("dice", *overall["metrics"]):
            values = entry["metrics"][name]
            for number in (values["mean"], values["std"]):
                if number is not None:
                    float(number)


def _read_cases(table: str) -> dict[str, dict[str, CaseScore]]:
    cases: dict[str, dict[str, CaseScore]] = {}
    for row in csv.DictReader(io.StringIO(table, newline="")):
        case, name, status = row.pop("case"), row.pop("class"), row.pop("status")
        metrics = {metric: _number(text) for metric, text in row.items()}
        cases.setdefault(case, {})[name] = CaseScore(status, {"dice": metrics["dice"], **metrics})
    if table[-1:] != "\n":
        raise ValueError("its last row has no end")
    if not cases:
        raise ValueError("holds no case")
    return cases


def _number(text: str) -> float | None:
    value = float(text) if text else None
    if value is not None and not math.isfinite(value):
        raise ValueError(f"holds {text}")
    return value


def _odd(path: Path, error: Exception) -> RunError:
    reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
    return RunError(f"{path} cannot be used ({reason}): run fewmask evaluate again")
