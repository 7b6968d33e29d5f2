"""Which published tables stand beside a setting's scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fewmask.bench.published import Result, all_results
from fewmask.bench.report.content import PRIMARY, Section
from fewmask.bench.tables import SideBySide, put_beside
from fewmask.data.protocols.shelf import find_public, public_names


def published_tables(section: Section) -> list[SideBySide]:
    """Comparisons and ablations of the papers on the same data, with as many labels or the same share of them, titled by both settings.

    Those that share no method, or no metric, are left out; so are those of one of several test sets, which our scores are not of.
    """
    tables = [
        put_beside(section.scores, results, names=names, alpha=section.alpha)
        for results in _tables(section)
        if (names := _names(section, results)) and {*results[0].table.metrics} & {*section.scores}
    ]
    return [replace(table, title=f"{table.title}; ours: {section.heading}") for table in tables]


def _tables(section: Section) -> Iterator[list[Result]]:
    dataset = public_name(section)
    found: dict[int, list[Result]] = {}
    for result in all_results():
        table = result.table
        if table.dataset == dataset and table.kind != "cost" and table.subset is None and _as_many(section, result):
            found.setdefault(id(table), []).append(result)
    yield from found.values()


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
    ablation = results[0].table.kind == "ablation"
    ours = {
        result.row: label
        for result in results
        if (label := _variant(section, result) if ablation else _label(section, result.method))
    }
    if not ours:
        return {}
    theirs = {result.row: result.row if ablation else result.method for result in results if result.row not in ours}
    return ours | {row: f"{name} (published)" if name in section.labels else name for row, name in theirs.items()}


def _label(section: Section, method: str) -> str | None:
    """The label of a method: the one of its name, or the only one that runs it."""
    variants = [label for label in section.labels if section.runs[label][0].method == method]
    if method in variants:
        return method
    return variants[0] if len(variants) == 1 else None


def _variant(section: Section, result: Result) -> str | None:
    wanted = _squeezed(result.row)
    alike = [
        label
        for label in section.labels
        if _squeezed(label) == wanted and section.runs[label][0].method == result.method
    ]
    return alike[0] if alike else None


def _squeezed(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
