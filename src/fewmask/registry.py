"""Named things that a config can ask for: methods and networks register themselves by a decorator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from fewmask.errors import ConfigError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of names and classes.

    Args:
        kind: what the table holds, in the singular, as errors print it (``"method"``).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that enters the class under ``name``.

        Raises:
            ConfigError: the name is taken by another class.
        """

        def enter(item: type[T]) -> type[T]:
            taken = self._items.get(name)
            if taken is not None and (taken.__module__, taken.__qualname__) != (item.__module__, item.__qualname__):
                raise ConfigError(
                    f"{self.kind} name {name!r} is already taken by {taken.__module__}.{taken.__qualname__}"
                )
            self._items[name] = item
            return item

        return enter

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._items:
            raise ConfigError(f"there is no {self.kind} named {name!r}: {nearest(name, self._items)}")
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __len__(self) -> int:
        return len(self._items)
