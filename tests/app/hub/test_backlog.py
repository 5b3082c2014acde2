from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.hub.backlog import Backlog
from riptide.hub.log_reads import LogReads
from riptide.hub.right_of_way import RightOfWay
from riptide.hub.turns import Turns
from tests.app.messages import published

if TYPE_CHECKING:
    from riptide.storage.memory import MemoryLog


async def test_a_backlog_reads_its_own_topic_from_the_log(log: MemoryLog) -> None:
    await log.append(published("a", [b"1", b"2"]))
    await log.append(published("b", [b"3"]))
    backlog = Backlog(LogReads(log, RightOfWay()), Turns(), "a")
    assert backlog.topic == "a"
    for after in (0, 1):
        chunk = await backlog.read(after, 2 - after)
        assert chunk is not None
        assert (chunk.first, chunk.last) == (after + 1, 2)
    assert await backlog.read(2, 0) is None
