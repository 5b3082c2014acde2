"""What a worker's metrics say of the process of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.process.faults import Faults
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from riptide.storage.shared.client import SharedLog
from riptide_telemetry import ServicePart
from tests.app.storage.appending import append
from tests.app.storage.feed import ListFeed
from tests.app.storage.shared.sharing import listen, serving
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from pathlib import Path


async def test_reconnects_and_topics_that_went_on_meanwhile_are_counted(tmp_path: Path) -> None:
    log, feed = MemoryLog(Retention(10, 3600)), ListFeed()
    with listen(tmp_path / "log") as listener:
        client = SharedLog(tmp_path / "log")

        def is_up() -> bool:
            return client.connection.is_up

        assert not is_up()
        async with serving(log, listener):
            await in_time(client.open())
            await client.follow("a", feed)
            await client.follow("quiet", ListFeed())
            await append(client, "a", b"1")
            assert is_up()
            assert client.followed_count() == 2
        await eventually(lambda: not is_up())
        assert (client.connection.reconnects, sum(client.connection.gaps.values())) == (0, 0)
        await append(log, "a", b"2")
        async with serving(log, listener):
            await eventually(lambda: sum(client.connection.gaps.values()) == 1)
            assert is_up()
            assert client.connection.reconnects == 1
            await client.close()


async def test_a_fault_of_the_process_of_the_log_is_counted_by_one_worker(tmp_path: Path) -> None:
    seen: list[ServicePart] = []

    class Listening(Faults):
        def met_elsewhere(self, part: ServicePart, process: str) -> None:
            super().met_elsewhere(part, process)
            seen.append(part)

    log = MemoryLog(Retention(10, 3600))
    with listen(tmp_path / "log") as listener:
        clients = [SharedLog(tmp_path / "log", Listening()) for _ in range(3)]
        async with serving(log, listener) as server:
            for client in clients:
                await in_time(client.open())
            server.tell_fault(ServicePart.LOG_WRITER)
            await eventually(lambda: seen)
            for client in clients:
                # Whatever was sent to them before has come.
                await in_time(client.bounds("a"))
            for client in clients:
                await client.close()
    assert seen == [ServicePart.LOG_WRITER]
