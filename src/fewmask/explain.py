"""What is wrong with a setting, in the words of the person who wrote it."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from fewmask.errors import nearest

MOST_SHOWN = 4  # wrong entries that are listed; mending those shows the others
_SHORT = reprlib.Repr()  # a value may be as long as its file
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxstring, _SHORT.maxother = 1, 6, 100, 100


def explain_all(model: type[BaseModel], errors: Sequence[Mapping[str, Any]]) -> str:
    """All entries of pydantic's ``ValidationError.errors()``, cut to what can be read; see `explain`."""
    shown = [explain(model, error) for error in errors[:MOST_SHOWN]]
    more = [f"and {len(errors) - MOST_SHOWN} more"] if len(errors) > MOST_SHOWN else []
    return "; ".join(shown + more)


def explain(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    """One entry of pydantic's ``ValidationError.errors()`` as a sentence; an unknown key comes with the nearest valid one.

    Args:
        model: the section that was checked.
        error: the entry.
    """
    path = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        fields = _fields(model, path[:-1])
        inside = [f"{section}.{path[-1]}" for section in fields if path[-1] in _fields(model, [*path[:-1], section])]
        advice = f"did you mean {' or '.join(map(repr, inside))}?" if inside else nearest(path[-1], fields)
        return f"unknown key {'.'.join(path)!r}, {advice}"
    place = ".".join(part for part in path if part.isidentifier() or part.isdigit()) or "the config"
    return f"{place}: {error['msg'].removeprefix('Value error, ')} (got {_SHORT.repr(error['input'])})"


def _fields(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys of the section at ``path``; none where a value stands there."""
    for part in path:
        if part not in model.model_fields:  # a place in a list, a name in a mapping
            continue
        kinds = [model.model_fields[part].annotation, *get_args(model.model_fields[part].annotation)]
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not sections:
            return []
        model = sections[0]
    return list(model.model_fields)
