"""YAML as plain values: what a settings file can hold, and no trick of the language beyond."""

from __future__ import annotations

from typing import Any

import yaml


class _PlainLoader(yaml.SafeLoader):
    """No Python objects, as `yaml.SafeLoader`, and no aliases: a few lines of them can stand for a billion values."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node, unless it only points to another."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read; write the value out")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping in which no key occurs twice: the last would win in silence."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for number, key in enumerate(keys) if key in keys[:number]), None):
            raise yaml.YAMLError(f"the key {twice!r} is there twice")
        return super().construct_mapping(node, deep)


def safe_yaml(text: str) -> Any:
    """Plain values from YAML text.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it is no YAML, or holds Python objects, aliases, impossible dates, a key twice or a tower of brackets.
    """
    return yaml.load(text, _PlainLoader)
