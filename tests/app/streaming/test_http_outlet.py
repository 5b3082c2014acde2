from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.streaming.connection import EXTENSION, ClientConnection
from riptide.streaming.http_outlet import FORMATS, HttpFormat, HttpOutlet, response_headers
from riptide_telemetry import CloseReason, StreamProtocol
from tests.waiting import in_time

if TYPE_CHECKING:
    from starlette.types import Message


class Exchange:
    """An outlet, and what it sent and will receive."""

    def __init__(self, http_format: HttpFormat = FORMATS[0]) -> None:
        self.sent: list[Message] = []
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.connection = ClientConnection(None)
        self.outlet = HttpOutlet(
            {"extensions": {EXTENSION: self.connection}},
            self.inbox.get,
            self._send,
            http_format,
        )

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def listen(self) -> tuple[CloseReason, str]:
        return await in_time(self.outlet.listen(lambda _: None))


@pytest.mark.parametrize("http_format", FORMATS, ids=lambda f: f.encoding.protocol)
async def test_the_head_forbids_to_store_change_or_hold_back(http_format: HttpFormat) -> None:
    exchange = Exchange(http_format)
    await exchange.outlet.open()
    (head,) = exchange.sent
    assert head["type"] == "http.response.start"
    assert head["status"] == 200
    headers = dict(head["headers"])
    assert headers[b"content-type"] == http_format.media_type.encode()
    assert b"no-store" in headers[b"cache-control"]
    assert b"no-transform" in headers[b"cache-control"]
    assert headers[b"x-accel-buffering"] == b"no"
    assert b"content-length" not in headers


def test_formats_are_those_of_http() -> None:
    assert [f.encoding.protocol for f in FORMATS] == [StreamProtocol.NDJSON, StreamProtocol.SSE]
    assert len({tuple(response_headers(f)) for f in FORMATS}) == 2


async def test_frames_are_pieces_of_one_body_until_it_is_closed() -> None:
    exchange = Exchange()
    await exchange.outlet.write(b"1\n")
    await exchange.outlet.write(b"2\n")
    await exchange.outlet.close(CloseReason.COMPLETED, "")
    assert [(m["body"], m["more_body"]) for m in exchange.sent] == [
        (b"1\n", True),
        (b"2\n", True),
        (b"", False),
    ]


async def test_a_body_of_the_request_is_not_heard() -> None:
    exchange = Exchange()
    for body in (b"hello", b""):
        await exchange.inbox.put({"type": "http.request", "body": body, "more_body": bool(body)})
    await exchange.inbox.put({"type": "http.disconnect"})
    assert await exchange.listen() == (CloseReason.CLIENT_CLOSED, "")


async def test_a_connection_that_broke_is_told_from_one_that_was_closed() -> None:
    exchange = Exchange()
    exchange.connection.error = ConnectionResetError()
    await exchange.inbox.put({"type": "http.disconnect"})
    assert await exchange.listen() == (CloseReason.CLIENT_VANISHED, "")
