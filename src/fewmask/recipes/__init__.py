"""Shipped experiments: one commented YAML each, by ``folder/name``."""

from __future__ import annotations

from pathlib import Path

from fewmask.errors import ConfigError, nearest

FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    """The shipped recipes, such as ``la/ua-mt``."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("*/*.yaml"))


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe, or of the user's own.

    Args:
        name: ``folder/name`` of a shipped one, or the path of a YAML file.

    Raises:
        ConfigError: neither is there.
    """
    if name in recipe_names():
        return FOLDER / f"{name}.yaml"
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise ConfigError(f"{name}: there is no such file; give a YAML file, or a shipped recipe such as la/ua-mt")
    folder = [known for known in recipe_names() if known.startswith(f"{name.partition('/')[0]}/")]
    raise ConfigError(f"there is no recipe {name!r}: {nearest(name, folder or recipe_names())}")
