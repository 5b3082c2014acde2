from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.hub.backlog import Backlog
from tests.app.messages import published

if TYPE_CHECKING:
    from riptide.storage.memory import MemoryLog


async def test_a_backlog_reads_its_own_topic_from_the_log(log: MemoryLog) -> None:
    await log.append(published("a", [b"1", b"2"]))
    await log.append(published("b", [b"3"]))
    backlog = Backlog(log, "a")
    assert backlog.topic == "a"
    assert [message.payload for message in await backlog.read(0)] == [b"1", b"2"]
    assert [message.payload for message in await backlog.read(1)] == [b"2"]
    assert await backlog.read(2) == []
