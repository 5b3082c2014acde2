"""A queue in which short tasks do not wait for long ones, nor one topic for another."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Gives out the short items and the long ones in turn; of the long ones each topic's in turn.

    Items of the same topic and length are given out in the order in which they came. Consumers of a
    topic that began together so stay together, and share what they need.
    """

    def __init__(self) -> None:
        self._short: deque[T] = deque()
        # By topic, the one whose turn it is first; no topic is empty.
        self._long: OrderedDict[str, deque[T]] = OrderedDict()
        self._short_next = True

    def __bool__(self) -> bool:
        """Return whether an item waits."""
        return bool(self._short or self._long)

    def put(self, item: T, topic: str, *, short: bool) -> None:
        """Let an item wait."""
        if short:
            self._short.append(item)
        else:
            self._long.setdefault(topic, deque()).append(item)

    def get(self) -> T:
        """Give out the next item.

        Raises:
            LookupError: none waits.

        """
        short = bool(self._short) and (self._short_next or not self._long)
        self._short_next = not short
        return self._short.popleft() if short else self._get_long()

    def _get_long(self) -> T:
        topic, items = self._long.popitem(last=False)
        item = items.popleft()
        if items:
            self._long[topic] = items
        return item
