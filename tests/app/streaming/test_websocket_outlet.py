from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.errors import InvalidPositionError
from riptide.message import Edge, MessageId
from riptide.streaming.connection import EXTENSION, ClientConnection
from riptide.streaming.websocket_outlet import WebSocketOutlet, parse_hello
from riptide_telemetry import CloseReason
from tests.waiting import in_time

if TYPE_CHECKING:
    from starlette.types import Message

    from riptide.hub.stream_range import StreamRange


class Exchange:
    """An outlet, what it sent, what it will receive, and the hellos that it passed on."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.connection = ClientConnection(None)
        self.hellos: list[StreamRange] = []
        self.outlet = WebSocketOutlet(
            {"extensions": {EXTENSION: self.connection}}, self.inbox.get, self._send
        )

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def listen(self, *messages: Message) -> tuple[CloseReason, str]:
        for message in messages:
            await self.inbox.put(message)
        return await in_time(self.outlet.listen(self.hellos.append))


def _text(text: str) -> Message:
    return {"type": "websocket.receive", "text": text}


GONE: Message = {"type": "websocket.disconnect", "code": 1001}


async def test_every_hello_is_passed_on_until_the_client_goes() -> None:
    exchange = Exchange()
    hellos = [_text('{"after": "earliest"}'), _text('{"until": "latest"}'), _text("{}")]
    assert await exchange.listen(*hellos, GONE) == (CloseReason.CLIENT_CLOSED, "")
    assert exchange.hellos == [(Edge.EARLIEST, False), (Edge.EARLIEST, True), (Edge.LATEST, False)]


async def test_a_binary_frame_ends_the_connection() -> None:
    reason, detail = await Exchange().listen({"type": "websocket.receive", "bytes": b"{}"})
    assert reason is CloseReason.UNSUPPORTED_FRAME
    assert '{"after":' in detail


async def test_text_that_is_no_hello_ends_the_connection_and_says_what_would_be() -> None:
    exchange = Exchange()
    reason, detail = await exchange.listen(_text("hello"), _text("{}"))
    assert reason is CloseReason.INVALID_FRAME
    assert '{"after":' in detail
    assert exchange.hellos == []


@pytest.mark.parametrize(
    ("code", "lost", "reason"),
    [
        (1000, False, CloseReason.CLIENT_CLOSED),
        (1001, False, CloseReason.CLIENT_CLOSED),
        (1005, False, CloseReason.CLIENT_CLOSED),
        (1006, False, CloseReason.CLIENT_VANISHED),
        (1005, True, CloseReason.CLIENT_VANISHED),
        (1002, False, CloseReason.INVALID_FRAME),
        (1007, False, CloseReason.INVALID_FRAME),
        (1009, True, CloseReason.FRAME_TOO_LARGE),
        (None, False, CloseReason.CLIENT_CLOSED),
    ],
)
async def test_how_the_client_went_is_told_by_code_and_connection(
    code: int | None,
    lost: bool,  # noqa: FBT001  # a column of the table
    reason: CloseReason,
) -> None:
    exchange = Exchange()
    exchange.connection.lost = lost
    assert await exchange.listen({"type": "websocket.disconnect", "code": code}) == (reason, "")


@pytest.mark.parametrize("reason", list(CloseReason))
async def test_a_close_frame_has_the_code_of_its_reason_and_says_it(reason: CloseReason) -> None:
    exchange = Exchange()
    await exchange.outlet.close(reason, "")
    assert exchange.sent == [
        {"type": "websocket.close", "code": reason.websocket_code, "reason": reason.meaning}
    ]


@pytest.mark.parametrize("detail", ["x" * 200, "é" * 100, "x" + "☃" * 60, "😀" * 40])
async def test_a_close_frame_holds_what_fits_and_no_half_characters(detail: str) -> None:
    exchange = Exchange()
    await exchange.outlet.close(CloseReason.INVALID_FRAME, detail)
    text = exchange.sent[0]["reason"]
    assert detail.startswith(text)
    assert 119 < len(text.encode()) <= 123


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "null",
        "[]",
        '"earliest"',
        '{"after": 7}',
        '{"after": ["earliest"]}',
        '{"after": "yesterday"}',
        '{"until": true}',
        '{"until": "earliest"}',
        '{"form": "earliest"}',
        "[" * 60_000,
    ],
)
def test_what_is_no_hello_is_refused(text: str) -> None:
    with pytest.raises(InvalidPositionError):
        parse_hello(text)


@pytest.mark.parametrize("text", ["1e400", "NaN", '{"after": "\\ud800"}'])
def test_a_text_that_cannot_be_read_is_not_called_invalid_json(text: str) -> None:
    with pytest.raises(InvalidPositionError, match=r"^not a hello"):
        parse_hello(text)


def test_a_hello_is_like_the_query_of_a_url_and_null_is_nothing() -> None:
    assert parse_hello('{"after": "0a1b2c3d-7", "until": null}') == (
        MessageId("0a1b2c3d", 7),
        False,
    )
    assert parse_hello('{"after": null, "until": "latest"}') == (Edge.EARLIEST, True)
