"""Which published tables stand beside a setting's scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fewmask.bench.case_scores import CaseScores
from fewmask.bench.grid import Grid
from fewmask.bench.published import Paper, Result, Table, all_results
from fewmask.bench.report.content import PRIMARY, Section
from fewmask.bench.report.departures import departures, stands_for
from fewmask.bench.tables import SideBySide, as_grid, put_beside
from fewmask.data.protocols.shelf import find_public, public_names
from fewmask.errors import DataError
from fewmask.files import read_json


@dataclass(frozen=True)
class OfPaper:
    """A paper and its tables beside ours.

    Attributes:
        name: of its file.
        source: who, when, what and where.
        remarks: what one should know before comparing, a sentence each without the full stop.
        grids: the tables.
    """

    name: str
    source: str
    remarks: tuple[str, ...]
    grids: tuple[Grid, ...]


def by_paper(tables: Iterable[SideBySide]) -> list[OfPaper]:
    """Tables of any settings under their papers, so that what is to be known of a paper is said once."""
    found: dict[str, tuple[Paper, list[Grid]]] = {}
    for table in tables:
        found.setdefault(table.paper.name, (table.paper, []))[1].append(as_grid(table))
    return [
        OfPaper(
            name,
            f"{paper.cite}: {paper.title}, {paper.link}",
            tuple(remark.rstrip(".") for remark in paper.remarks),
            tuple(grids),
        )
        for name, (paper, grids) in found.items()
    ]


def published_tables(section: Section) -> list[SideBySide]:
    """Comparisons and ablations of the papers on the same data, with as many labels or the same share of them, titled by both settings.

    Beside a table of some of the test cases stand our scores of these. Tables that share no method, or no metric, are left out.
    """
    recorded = records_shortcuts(section)
    return [
        put_beside(
            scores,
            results,
            names=names,
            recorded=recorded,
            remarks=(*departures(section, results[0].table), *_renamed(section, results)),
            alpha=section.alpha,
            heading=section.heading,
        )
        for results in _tables(section)
        if (names := _names(section, results))
        and {*results[0].table.metrics} & {*(scores := _of_subset(section.scores, results[0].table))}
    ]


def records_shortcuts(section: Section) -> bool:
    """Whether it is known which shortcuts the data take: a protocol or the split says it, or ``dataset.json`` that there is none."""
    if section.setting.protocol or section.scores[PRIMARY].shortcuts:
        return True
    return all(_says_none(Path(str(run.dataset["root"]))) for run in section.firsts)


def _says_none(root: Path) -> bool:
    try:
        return bool(read_json(root / "dataset.json")["shortcuts"] == [])
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _tables(section: Section) -> Iterator[list[Result]]:
    dataset = public_name(section)
    found: dict[int, list[Result]] = {}
    for result in all_results():
        if result.table.dataset == dataset and result.table.kind != "cost" and _as_many(section, result):
            found.setdefault(id(result.table), []).append(result)
    yield from found.values()


def _of_subset(scores: Mapping[str, CaseScores], table: Table) -> dict[str, CaseScores]:
    """The scores of the test cases that the table is of; empty where there is none."""
    if table.subset is None:
        return dict(scores)
    begin = find_public(table.dataset).subsets[table.subset]
    found = {}
    for metric, one in scores.items():
        chosen = np.array([bool(re.match(begin, case)) for case in one.cases])
        cases = tuple(case for case, there in zip(one.cases, chosen, strict=True) if there)
        with suppress(DataError):  # some run has no score of any of them
            found[metric] = replace(
                one, cases=cases, values={name: rows[:, chosen] for name, rows in one.values.items()}
            )
    return found


def public_name(section: Section) -> str | None:
    """The data set's name in `fewmask.data.protocols`: as the protocol says, or else by what its ``dataset.json`` calls it."""
    if section.setting.protocol:
        return section.setting.protocol.split("/", maxsplit=1)[0]
    name = _squeezed(section.setting.dataset)
    known = [key for key in public_names() if name == _squeezed(key) or name in _squeezed(find_public(key).title)]
    return known[0] if len(known) == 1 and len(name) > 2 else None


def _as_many(section: Section, result: Result) -> bool:
    """Labels that validate are part of the budget, unless the protocol has them beside it."""
    setting, table = section.setting, result.table
    beside = "extra-validation" in section.scores[PRIMARY].shortcuts
    budget = setting.labelled + (0 if beside else setting.validation)
    share = int((table.share or "0%").removesuffix("%")) * (budget + setting.unlabelled)  # in hundredths of a case
    nearest, up = round(share / 100), -(-share // 100)  # the papers round up
    return budget in (table.labelled, nearest, up)


def _names(section: Section, results: Sequence[Result]) -> dict[str, str]:
    """Our labels by the table's rows: the row's method or, of an ablation, the row itself; empty where none is ours.

    Other rows go by names that none of our labels has: a label may be called like a method that it is not.
    """
    ablation, ours = results[0].table.kind == "ablation", _ours(section, results)
    if not ours:
        return {}
    theirs = {result.row: result.row if ablation else result.method for result in results if result.row not in ours}
    return ours | {row: f"{name} (published)" if name in section.labels else name for row, name in theirs.items()}


def _ours(section: Section, results: Sequence[Result]) -> dict[str, str]:
    ablation = results[0].table.kind == "ablation"
    return {
        result.row: label
        for result in results
        if (label := _variant(section, result) if ablation else _label(section, result.method))
    }


def _renamed(section: Section, results: Sequence[Result]) -> Iterator[str]:
    """What stands in a row under another name than the paper's."""
    ours = _ours(section, results)
    if results[0].table.kind == "ablation":
        said = [f"{label} is the row {row!r}" for row, label in ours.items() if _squeezed(row) != _squeezed(label)]
        yield from ["; ".join(said)] if said else []
        return
    for result in results:
        if (label := ours.get(result.row, result.method)) != result.method:
            yield stands_for(section, label, result.method)


def _label(section: Section, method: str) -> str | None:
    """The label of a method: the one of its name, or the only one that runs it."""
    variants = [label for label in section.labels if section.runs[label][0].method == method]
    if method in variants:
        return method
    return variants[0] if len(variants) == 1 else None


def _variant(section: Section, result: Result) -> str | None:
    """The label of an ablation's row: the shipped suite's, or else one that is called like the row."""
    wanted = _squeezed(result.row)
    alike = [label for label in section.labels if section.runs[label][0].method == result.method]
    named = [label for label in alike if label == result.label]
    return next(iter([*named, *(label for label in alike if _squeezed(label) == wanted)]), None)


def _squeezed(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
