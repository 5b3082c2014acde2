"""Counts by topic prefix, for the prefixes on an operator's allow-list.

Clients choose topics, so a label with their names would have any number of values. The label
``topic`` has a closed set instead: the prefixes on the list, and ``other`` for all other topics.
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
    """The counts of each topic: those of its longest prefix on the allow-list.

    Raises:
        ValueError: the list has more than ``MAX_PREFIXES`` prefixes.

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
        """Return the counts of a topic, or None if there is no allow-list."""
        if not self._prefixes:
            return None
        for prefix in self._prefixes:
            if topic.startswith(prefix):
                return self.by_label[prefix]
        return self.by_label[OTHER]
