"""Appending to a log in tests."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from riptide.message import MessageId
from riptide.storage.message_log import IdState
from tests.app.messages import published
from tests.waiting import in_time

if TYPE_CHECKING:
    from riptide.storage.message_log import MessageLog


async def append(log: MessageLog, topic: str, *payloads: bytes) -> int:
    """Append now, and return the first sequence number; fail rather than wait for ever."""
    receipt = await in_time(log.append(published(topic, payloads)))
    return receipt.first.sequence


async def epoch_of(log: MessageLog) -> str:
    """Return the epoch of this life of the log."""
    receipt = await in_time(log.append(published("epoch", [b"0"])))
    return receipt.first.epoch


async def end_of(log: MessageLog, epoch: str, topic: str) -> int | None:
    """Return the greatest sequence number that the log knows of a life; None if it knows none."""
    end = None
    for sequence in itertools.count():
        if await log.place(topic, MessageId(epoch, sequence)) is IdState.NEVER:
            return end
        end = sequence
    raise AssertionError("there is no end")
