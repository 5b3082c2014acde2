"""Who follows which topic of a log, and what they are given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from riptide.message import Message, Receipt
    from riptide.publication import Publication
    from riptide.storage.message_log import Feed


class Feeds:
    """The feeds of a log whose appends are answered on this event loop."""

    def __init__(self) -> None:
        self._by_topic: dict[str, dict[Feed, None]] = {}

    def follow(self, topic: str, feed: Feed) -> None:
        """Push the topic's messages to the feed from now on."""
        self._by_topic.setdefault(topic, {})[feed] = None

    def unfollow(self, topic: str, feed: Feed) -> None:
        """Push nothing more of the topic to the feed."""
        feeds = self._by_topic.get(topic, {})
        feeds.pop(feed, None)
        if not feeds:
            self._by_topic.pop(topic, None)

    def topic_count(self) -> int:
        """Return how many topics have feeds."""
        return len(self._by_topic)

    def push_soon(self, kept: Iterable[tuple[Publication, Receipt]]) -> None:
        """Push publications that were kept, in the order of their sequence numbers.

        Their futures are done: publishers are answered before consumers are served.
        """
        messages: dict[str, list[Message]] = {}
        for publication, receipt in kept:
            if publication.topic in self._by_topic:
                new = publication.messages(receipt.first)
                messages.setdefault(publication.topic, []).extend(new)
        if messages:
            asyncio.get_running_loop().call_soon(self._push, messages)

    def _push(self, messages: dict[str, list[Message]]) -> None:
        for topic, new in messages.items():
            for feed in tuple(self._by_topic.get(topic, ())):
                feed.push(new)
