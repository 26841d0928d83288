"""Values that are made when they are asked for."""

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class OnDemand(dict[K, V]):
    """A mapping whose values are made at the first look, and stay: of thousands that there could be, it holds those that were needed."""

    def __init__(self, make: Callable[[K], V]) -> None:
        """Take what makes the value of a key."""
        super().__init__()
        self._make = make

    def __missing__(self, key: K) -> V:
        made = self[key] = self._make(key)
        return made
