"""Questions that a process of the log does not answer, or with an error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.errors import (
    DamagedMessagesError,
    LogUnavailableError,
    TopicLimitError,
)
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from riptide.storage.shared import questions
from tests.app.messages import published
from tests.app.storage.appending import append
from tests.app.storage.shared.sharing import KEEP, Life, SlowToPlace
from tests.waiting import in_time, turns

if TYPE_CHECKING:
    import socket

    from riptide.message import Message
    from riptide.storage.shared.client import SharedLog


async def test_questions_are_asked_again_until_a_process_answers(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = SlowToPlace(KEEP)
    async with Life(deaf, listener, shared):
        place = asyncio.create_task(shared.place("a", published("a", []).receipt("0" * 8, 1).first))
        await in_time(deaf.asked.wait())
    between = asyncio.create_task(shared.names("", 10))
    await turns()
    assert not place.done()
    new = MemoryLog(KEEP)
    await append(new, "b", b"1")
    async with Life(new, listener, shared):
        assert (await in_time(place)).value == "never"
        assert await in_time(between) == ["b"]
    monkeypatch.setattr(questions, "TIMEOUT_S", 0.05)
    with pytest.raises(LogUnavailableError, match="has not answered for"):
        await in_time(shared.bounds("a"))
    assert not shared._questions._waiting


async def test_errors_of_the_log_keep_their_class(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def damaged(*_: object) -> list[Message]:
        raise DamagedMessagesError("a", 3, 4)

    async with Life(MemoryLog(Retention(10, 3600, 1)), listener, shared):
        await append(shared, "a", b"1")
        with pytest.raises(TopicLimitError, match="RIPTIDE_MAX_TOPICS") as limit:
            await in_time(shared.append(published("b", [b"1"])))
        assert limit.value.retry_after == 60
        monkeypatch.setattr(MemoryLog, "read", damaged)
        with pytest.raises(DamagedMessagesError) as error:
            await in_time(shared.read("a", 2))
        assert (error.value.topic, error.value.first, error.value.last) == ("a", 3, 4)
