"""What is worked out once for each object: jobs share their params, and there may be a hundred thousand of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

MOST = 10_000  # what is not shared is not worth the memory


class OncePerObject(Generic[V]):
    """Values by the identity of what they are computed from, which need be neither hashable nor equal to be told apart.

    Args:
        most: So many are kept; then all are forgotten, and the next are kept. Several threads may ask.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        # Each object is kept with its value: while it is alive, its id stays its own.
        self._known: dict[tuple[Hashable, ...], tuple[object, V]] = {}

    def get(self, item: object, compute: Callable[[], V], *more: Hashable) -> V:
        """Return the value of an object that nobody changes.

        Args:
            item: The object.
            compute: Computes the value, where it is not known.
            *more: What it depends on besides.
        """
        key = (id(item), *more)
        found = self._known.get(key)
        if found is None:
            found = item, compute()
            if len(self._known) >= self._most:
                self._known = {}  # a new one: another thread may be reading the old one
            self._known[key] = found
        return found[1]
