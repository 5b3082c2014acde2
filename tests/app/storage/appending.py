"""Appending to a log in tests."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riptide.storage.message_log import MessageLog


async def append(log: MessageLog, topic: str, *payloads: bytes) -> int:
    """Append now; fail rather than wait for ever."""
    return await asyncio.wait_for(log.append(topic, payloads, time.time_ns()), 10)
