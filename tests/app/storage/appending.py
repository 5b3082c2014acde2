"""Appending to a log in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app.messages import published
from tests.waiting import in_time

if TYPE_CHECKING:
    from riptide.storage.message_log import MessageLog


async def append(log: MessageLog, topic: str, *payloads: bytes) -> int:
    """Append now; fail rather than wait for ever."""
    return await in_time(log.append(published(topic, payloads)))
