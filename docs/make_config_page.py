"""Writes docs/config.md from the schema: run `python docs/make_config_page.py` after changing a setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fewmask.components.ramps import RampConfig
from fewmask.config import Experiment
from fewmask.methods import METHODS

HEAD = """# Every setting

A config is a YAML file given to `--recipe`; `--set SECTION.KEY=VALUE` changes one. What it does not name has the default below. An unknown
key is an error that names the nearest valid one. The resolved config of a run is its `config.yaml`.

This page is written from the schema by `python docs/make_config_page.py`.
"""


def cell(value: Any) -> str:
    """A value as a table shows it."""
    return f"`{value}`" if value is not None else "none"


def rows_of(section: BaseModel, prefix: str = "") -> Iterator[str]:
    """A row for each field: name, default, description. Sections within come field by field, ramps as a whole."""
    values = section.model_dump(mode="json")
    for key, field in type(section).model_fields.items():
        inner = getattr(section, key)
        if isinstance(inner, BaseModel) and not isinstance(inner, RampConfig):
            yield from rows_of(inner, f"{prefix}{key}.")
        else:
            yield f"| `{prefix}{key}` | {cell(values[key])} | {field.description or key.replace('_', ' ')} |"


def table(section: BaseModel) -> str:
    """A section's fields, defaults and descriptions."""
    rows = list(rows_of(section))
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows]).replace(
        "fewmask networks`", "fewmask networks`"
    )


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, section in Experiment():
        if name == "method":
            parts += ["## method\n", "`name` (default `supervised`), and the method's own settings beside it.\n"]
            parts += [f"### {method}\n\n{table(METHODS[method].Config())}\n" for method in METHODS]
        else:
            parts.append(f"## {name}\n\n{table(section)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(__file__).parent / "config.md").write_text(page(), encoding="utf-8")
