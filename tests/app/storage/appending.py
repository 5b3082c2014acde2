"""Appending to a log in tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.waiting import in_time

if TYPE_CHECKING:
    from riptide.storage.message_log import MessageLog


async def append(log: MessageLog, topic: str, *payloads: bytes) -> int:
    """Append now; fail rather than wait for ever."""
    return await in_time(log.append(topic, payloads, time.time_ns()))
