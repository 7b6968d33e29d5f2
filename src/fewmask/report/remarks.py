"""What a reader should know before believing the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fewmask.data.protocols.shortcuts import stamp
from fewmask.report.data import Run
from fewmask.words import count


def remarks(runs: Sequence[Run]) -> list[str]:
    """One sentence for everything that makes runs incomparable, unfinished or too good."""
    found = [sentence for run in runs for sentence in _of_run(run)]
    if len(runs) > 1:
        found += _between(runs)
    return found


def _of_run(run: Run) -> Iterator[str]:
    planned = run.experiment.train.iterations
    if run.iterations < planned:
        yield f"{run.name} has logged {run.iterations} of {planned} iterations: it was stopped, or is still running."
    if text := stamp(run.split.shortcuts):
        yield f"{run.name}, {text}."
    if run.scores is None:
        yield f"{run.name} is not scored: run fewmask predict into its predictions folder, then fewmask evaluate."
        return
    if run.scores.missing:
        yield f"{run.name} has no prediction of {count(len(run.scores.missing), 'case')}; they count as all background."
    for part, effect in (("labelled", "it was trained on with labels"), ("validation", "it was validated on")):
        seen = set(getattr(run.split, part)) & set(run.scores.cases)
        if seen:
            yield f"{run.name} is scored on {count(len(seen), 'case')} that {effect}: its figures are too good."


def _between(runs: Sequence[Run]) -> Iterator[str]:
    scores = [run.scores for run in runs if run.scores]
    if len({str(run.dataset["name"]) for run in runs}) > 1:
        yield "The runs are of different data sets: their scores cannot be compared."
    elif len({frozenset(one.cases) for one in scores}) > 1:
        yield "The runs are scored on different cases: their means cannot be compared."
    if len({one.unit for one in scores}) > 1:
        units = ", ".join(f"{run.name} in {run.scores.unit}" for run in runs if run.scores)
        yield f"Distances are in different units: {units}."
    if len({frozenset(run.split.labelled) for run in runs}) > 1:
        yield "The runs have learned from different labelled cases."
