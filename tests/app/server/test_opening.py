from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from websockets.exceptions import InvalidStatus

from riptide.server import opening
from riptide.server.http_limits import RequestLimits
from riptide.server.listener import listen
from riptide.server.opening import answering_while_opening, opening_app
from riptide.server.serving import _configure
from riptide.server.side_server import SideServer
from tests import plain
from tests.waiting import eventually

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as listener:
        yield listener


def _server(listener: socket.socket) -> SideServer:
    return SideServer(_configure(opening_app, RequestLimits(1, 1, 1, 1)), listener.dup())


async def test_while_the_log_is_being_opened_the_process_is_live_and_refuses_all_else(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "PATIENCE_S", 0)
    server = _server(listener)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    async with answering_while_opening([server]):
        await eventually(lambda: server.started)
        async with httpx2.AsyncClient(base_url=f"http://{address}") as client:
            live = await client.get("/healthz/live")
            ready = await client.get("/healthz/ready")
            publish = await client.post("/topics/a", json=1)
        assert (live.status_code, live.json()) == (200, {"status": "live"})
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert ready.json()["log"] == "failing: it is being opened"
        assert (publish.status_code, publish.headers["Retry-After"]) == (503, "5")
        assert publish.json()["detail"].startswith("the message log is being opened")
        with pytest.raises(InvalidStatus) as refused:
            async with plain.connect(f"ws://{address}/topics/a"):
                pass
        assert refused.value.response.status_code == 503
    assert listener.fileno() >= 0, "the service goes on with the same listener"


async def test_a_log_that_is_open_soon_lets_clients_wait(listener: socket.socket) -> None:
    server = _server(listener)
    async with answering_while_opening([server]):
        pass
    assert not server.started
    assert server.listener.fileno() == -1
