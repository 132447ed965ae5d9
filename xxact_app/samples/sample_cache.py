"""A cache of values computed for the patterns of a session."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class SampleCache(Generic[Value]):
    """Values by pattern and by what else they depend on, those used last; safe for threads.

    Args:
        maximum: how many values are kept.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._changing = threading.Lock()
        self._kept: OrderedDict[tuple[str, Hashable], Value] = OrderedDict()

    def get(self, key: str, question: Hashable) -> Value | None:
        """The value for a pattern and a question, if it is kept."""
        with self._changing:
            if (key, question) in self._kept:
                self._kept.move_to_end((key, question))
            return self._kept.get((key, question))

    def put(self, key: str, question: Hashable, value: Value) -> None:
        """Store a value."""
        with self._changing:
            self._kept[key, question] = value
            self._kept.move_to_end((key, question))
            while len(self._kept) > self._maximum:
                self._kept.popitem(last=False)

    def get_or_compute(self, key: str, question: Hashable, compute: Callable[[], Value]) -> Value:
        """The cached value, or a new one; two threads may compute the same value."""
        value = self.get(key, question)
        if value is None:
            value = compute()
            self.put(key, question, value)
        return value

    def keep(self, keys: Collection[str]) -> None:
        """Drop all patterns except these."""
        with self._changing:
            for place in [place for place in self._kept if place[0] not in keys]:
                del self._kept[place]

    def forget(self, key: str) -> None:
        """Drop one pattern."""
        with self._changing:
            for place in [place for place in self._kept if place[0] == key]:
                del self._kept[place]
