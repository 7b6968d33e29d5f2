"""Finding a data set and a protocol by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fewmask.config import read_yaml, validate
from fewmask.data.protocols.schema import Protocol, PublicDataset
from fewmask.errors import ConfigError, nearest

FOLDER = Path(__file__).parent


def public_names() -> list[str]:
    """The data sets that have a file here, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def find_public(name: str) -> PublicDataset:
    """What is known of a public data set.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in public_names():
        raise ConfigError(f"there is no public data set {name!r}: {nearest(name, public_names())}")
    path = FOLDER / f"{name}.yaml"
    known: PublicDataset = validate(PublicDataset, {"name": name, **read_yaml(path)}, str(path))
    return known


def find_protocol(name: str) -> tuple[PublicDataset, Protocol]:
    """A protocol by its full name, such as ``la/paper``, with the data set that it belongs to.

    Raises:
        ConfigError: there is no such data set, or it has no such protocol.
    """
    known = find_public(name.split("/", maxsplit=1)[0])
    if name not in (names := [f"{known.name}/{short}" for short in known.protocols]):
        raise ConfigError(f"there is no protocol {name!r}: {nearest(name, names)}")
    return known, known.protocols[name.split("/")[1]]


def protocol_settings(name: str) -> dict[str, Any]:
    """The part of a config that a protocol fixes, as plain values for `fewmask.config.merge`.

    Raises:
        ConfigError: there is no such protocol.
    """
    known, protocol = find_protocol(name)
    return known.settings_of(protocol)


def read_list(name: str) -> list[str]:
    """The case ids of a file of ``lists/``, in its order."""
    return (FOLDER / "lists" / f"{name}.txt").read_text(encoding="utf-8").split()
