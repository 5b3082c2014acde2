"""Appending to a log in tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.app.messages import published

if TYPE_CHECKING:
    from riptide.storage.message_log import MessageLog


async def append(log: MessageLog, topic: str, *payloads: bytes) -> int:
    """Append now; fail rather than wait for ever."""
    return await asyncio.wait_for(log.append(published(topic, payloads)), 10)
