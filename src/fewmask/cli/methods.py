"""``fewmask methods``: what there is, and a method's card."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewmask.cli.console import print_json, say, say_next
from fewmask.cli.options import JsonOption
from fewmask.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from fewmask.data.convert import Converter
    from fewmask.methods import Method


def methods(
    verb: Annotated[str | None, typer.Argument(metavar="show", help="To print the card of one method.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The method.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the methods, or print the card of one.

    A card holds the paper, the equations and the settings: `fewmask methods show NAME`.
    """
    from fewmask.methods import METHODS

    if verb is None:
        _list(as_json)
    elif verb == "show" and name:
        _show(name, METHODS[name], as_json)
    else:
        wanted = verb if verb in METHODS else "NAME"
        raise ConfigError(f"write `fewmask methods`, or `fewmask methods show {wanted}`")


def _list(as_json: bool) -> None:
    from fewmask.methods import METHODS

    rows: list[dict[str, Any]] = [
        {
            "name": n,
            "family": METHODS[n].family,
            "year": METHODS[n].year,
            "networks": METHODS[n].networks,
            "dims": list(METHODS[n].spatial_dims),
            "cost": METHODS[n].cost,
            "idea": METHODS[n].idea,
        }
        for n in METHODS
    ]
    if as_json:
        print_json(rows)
        return
    say(_line("method", "year", "networks", "dims", "cost", "family"), style="bold")
    for row in rows:
        dims = " ".join(f"{d}D" for d in row["dims"])
        cost = "" if row["cost"] is None else f"{row['cost']:.1f}"
        say(_line(row["name"], str(row["year"]), row["networks"], dims, cost, row["family"]))
        say(f"  {row['idea']}", style="dim")
    say("cost: multiply-adds of a training step, as a multiple of those of supervised")
    say_next("fewmask", "methods", "show", "ua-mt")


def _line(name: str, year: str, networks: str, dims: str, cost: str, family: str) -> str:
    """One method's columns; the idea stands below, so that a narrow terminal has room for both."""
    return f"{name:<25}{year:<6}{networks:<25}{dims:<7}{cost:>5}  {family}"


def _show(name: str, kind: type[Method], as_json: bool) -> None:
    card: dict[str, Any] = {
        "name": name,
        "family": kind.family,
        "year": kind.year,
        "networks": kind.networks,
        "cost": kind.cost,
        "card": inspect.getdoc(kind),
        "settings": settings(kind),
    }
    if as_json:
        print_json(card)
        return
    dims = " and ".join(f"{d}D" for d in kind.spatial_dims)
    cost = "" if kind.cost is None else f", {kind.cost:.1f} times the multiply-adds of supervised"
    say(f"{name}: {kind.family}, {kind.year}, {dims}, networks: {kind.networks}{cost}")
    say(f"\n{card['card']}\n\nSettings (--set method.KEY=VALUE):")
    for key, default, description in card["settings"]:
        value = default if isinstance(default, str) else json.dumps(default)
        say(f"  {key}={value}" + (f"  {description}" if description else ""))


def settings(kind: type[Method] | type[Converter]) -> list[tuple[str, Any, str]]:
    """Dotted name, default and description of each setting of a method or a converter."""
    return list(_settings(kind.Config(), ""))


def _settings(section: BaseModel, prefix: str) -> Iterator[tuple[str, Any, str]]:
    values = section.model_dump(mode="json")
    for key, field in type(section).model_fields.items():
        inner = getattr(section, key)
        if hasattr(inner, "model_dump"):
            yield from _settings(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", values[key], field.description or ""
