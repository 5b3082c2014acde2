"""Both transports look alike to a session."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest

from riptide.streaming.connection import EXTENSION, ClientConnection
from riptide.streaming.http_outlet import FORMATS, HttpOutlet
from riptide.streaming.outlet import Outlet
from riptide.streaming.websocket_outlet import WebSocketOutlet
from riptide_telemetry import CloseReason
from tests.app.streaming.pipe import Pipe
from tests.waiting import in_time, turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Scope, Send


def _ndjson(scope: Scope, receive: Receive, send: Send) -> Outlet:
    return HttpOutlet(scope, receive, send, FORMATS[0])


def _sse(scope: Scope, receive: Receive, send: Send) -> Outlet:
    return HttpOutlet(scope, receive, send, FORMATS[1])


def _websocket(scope: Scope, receive: Receive, send: Send) -> Outlet:
    return WebSocketOutlet(scope, receive, send)


every_outlet = pytest.mark.parametrize("make", [_ndjson, _sse, _websocket])


class Server:
    """The two callables of ASGI, the test behind them."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.connection = ClientConnection(None)

    def outlet(self, make: Callable[[Scope, Receive, Send], Outlet]) -> Outlet:
        return make({"extensions": {EXTENSION: self.connection}}, self.inbox.get, self._send)

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


@every_outlet
async def test_a_life_is_opened_written_to_and_closed_in_that_order(
    make: Callable[[Scope, Receive, Send], Outlet],
) -> None:
    server = Server()
    outlet = server.outlet(make)
    record = {"event": "end", "detail": "bye"}
    await outlet.open()
    await outlet.write(outlet.encoding.encode_control(record))
    await outlet.close(CloseReason.DRAINING, "")
    kinds = [message["type"] for message in server.sent]
    assert len(kinds) == len(set(kinds)) + ("http.response.body" in kinds)
    body = server.sent[1].get("body") or server.sent[1]["text"].encode()
    assert b'{"event":"end","detail":"bye"}' in body


@every_outlet
async def test_the_connection_is_the_one_of_the_scope(
    make: Callable[[Scope, Receive, Send], Outlet],
) -> None:
    server = Server()
    assert server.outlet(make).connection is server.connection


@every_outlet
async def test_listening_ends_only_when_the_client_goes(
    make: Callable[[Scope, Receive, Send], Outlet],
) -> None:
    server = Server()
    outlet = server.outlet(make)
    listening = asyncio.create_task(outlet.listen(lambda _: None))
    await turns()
    assert not listening.done()
    kind = "websocket" if make is _websocket else "http"
    await server.inbox.put({"type": f"{kind}.disconnect", "code": 1001})
    assert await in_time(listening) == (CloseReason.CLIENT_CLOSED, "")


@pytest.mark.parametrize("cls", [HttpOutlet, WebSocketOutlet, Pipe])
def test_every_outlet_has_the_methods_of_the_protocol(cls: type) -> None:
    for name, method in inspect.getmembers(Outlet, inspect.isfunction):
        if not name.startswith("_"):
            own = inspect.signature(getattr(cls, name)).parameters
            assert list(own) == list(inspect.signature(method).parameters), name
