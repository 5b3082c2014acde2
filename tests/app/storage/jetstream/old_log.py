"""Logs in SQLite, made by real lives of the service's log, to be moved into a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.message import MessageId
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.messages import published
from tests.waiting import in_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

KEEP = Retention(1_000_000, 3600)


async def live(
    directory: Path,
    published_by_topic: Mapping[str, Sequence[Sequence[bytes]]],
    *,
    accepted_at: int | None = None,
    traceparent: str = "",
    retention: Retention = KEEP,
) -> dict[str, list[MessageId]]:
    """Open a log, publish batches to topics, and close it; return the ids of each topic."""
    log = SqliteLog(directory, retention)
    await log.open()
    ids: dict[str, list[MessageId]] = {}
    for topic, batches in published_by_topic.items():
        for batch in batches:
            publication = published(topic, batch, accepted_at, traceparent)
            receipt = await in_time(log.append(publication))
            first, last = receipt
            numbers = range(first.sequence, last.sequence + 1)
            ids.setdefault(topic, []).extend(MessageId(first.epoch, n) for n in numbers)
    await log.close()
    return ids
