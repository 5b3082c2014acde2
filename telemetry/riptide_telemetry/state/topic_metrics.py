"""The few numbers that may be kept by topic, for the topics that an operator has named.

A label whose values clients choose would grow without end. So it has a closed set of values too:
prefixes from an allow-list, and ``other`` for all else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

OTHER = "other"


class TopicMetrics:
    """What is counted for all topics under one label; see the catalog for meanings."""

    __slots__ = ("active", "dropped", "published", "sent")

    def __init__(self) -> None:
        self.active = 0
        self.published = 0
        self.sent = 0
        self.dropped = 0


class TopicLabels:
    """Which numbers belong to a topic: those of its longest prefix on the list.

    Without a list there are none, and looking costs nothing.

    Raises:
        ValueError: the list is longer than ``MAX_PREFIXES``.

    """

    MAX_PREFIXES: ClassVar = 50

    def __init__(self, prefixes: Iterable[str] = ()) -> None:
        allowed = sorted(set(prefixes), key=len, reverse=True)
        if len(allowed) > self.MAX_PREFIXES:
            raise ValueError(f"{len(allowed)} topic labels are more than {self.MAX_PREFIXES}")
        self._prefixes = tuple(allowed)
        self.by_label: dict[str, TopicMetrics] = {}
        if allowed:
            self.by_label = {label: TopicMetrics() for label in (*sorted(allowed), OTHER)}

    def find(self, topic: str) -> TopicMetrics | None:
        """Return the numbers of a topic, or None where none are kept."""
        if not self._prefixes:
            return None
        for prefix in self._prefixes:
            if topic.startswith(prefix):
                return self.by_label[prefix]
        return self.by_label[OTHER]
