from __future__ import annotations

import asyncio

import pytest

from riptide.server.http_limits import RequestLimits
from riptide.server.listener import listen
from riptide.server.opening import opening_app
from riptide.server.serving import _configure
from riptide.server.side_server import SideServer
from tests.waiting import eventually, in_time


@pytest.fixture
def server() -> SideServer:
    config = _configure(opening_app, RequestLimits(1, 1, 1, 1))
    return SideServer(config, listen("127.0.0.1", 0))


async def test_it_serves_until_it_is_told_to_finish(server: SideServer) -> None:
    running = asyncio.create_task(server.run_beside())
    await eventually(lambda: server.started)
    await in_time(server.finish())
    await in_time(running)


async def test_an_end_that_nobody_asked_for_is_an_error(
    server: SideServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end() -> None:
        pass

    monkeypatch.setattr(server, "main_loop", end)
    with pytest.raises(RuntimeError, match="has ended"):
        await in_time(server.run_beside())
