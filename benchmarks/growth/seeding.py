"""Logs that are large already: written by the log itself, in this process, in large batches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from riptide.message import Acceptance
from riptide.publication import Publication
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from riptide.message import Receipt

# A log to which anything may be added, and which deletes nothing.
KEEPS_ALL = Retention(10**9, 10**9, 10**7)
MESSAGE = b'{"sensor":"a-17","reading":21.75,"note":"%s"}' % (b"x" * 60)
# Messages of one append, and appends that wait at a time.
BATCH, WAITING = 5_000, 2_000


class Contents(NamedTuple):
    """So many topics (``topic_name``) with so many messages each, accepted at one moment."""

    topics: int
    messages_each: int
    # Unix time in nanoseconds; None for now.
    accepted_at: int | None = None

    def publications(self) -> Iterator[Publication]:
        """Return all messages, one topic after the other."""
        accepted = Acceptance.now() if self.accepted_at is None else Acceptance.at(self.accepted_at)
        for topic in range(self.topics):
            for start in range(0, self.messages_each, BATCH):
                count = min(BATCH, self.messages_each - start)
                yield Publication(topic_name(topic), [MESSAGE] * count, accepted)


def topic_name(number: int) -> str:
    """Return the name of a seeded topic."""
    return f"topic-{number}"


def seed(directory: Path, contents: Contents) -> None:
    """Write a log into a directory."""
    asyncio.run(_seed(directory, contents))


async def _seed(directory: Path, contents: Contents) -> None:
    log = SqliteLog(directory, KEEPS_ALL)
    await log.open()
    try:
        appends: list[asyncio.Future[Receipt]] = []
        messages = 0
        for publication in contents.publications():
            appends.append(log.append(publication))
            messages += len(publication.payloads)
            if len(appends) >= WAITING or messages >= BATCH:
                await asyncio.gather(*appends)
                appends, messages = [], 0
        await asyncio.gather(*appends)
    finally:
        await log.close()
