from __future__ import annotations

from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from app.frame_limits import MAX_FRAGMENTS, LimitedWebSocketProtocol
from app.server import StreamingWebSocketProtocol


class Transport:
    """The least of a transport: what was written, and how much of it waits."""

    def __init__(self) -> None:
        self.written = b""
        self.waiting = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, _name: str) -> None: ...


class Conversation:
    """The protocol, and a client of the websockets library that talks to it."""

    def __init__(self) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})

        config = uvicorn.Config(app, lifespan="off", log_config=None, ws_per_message_deflate=False)
        config.load()
        self.protocol = LimitedWebSocketProtocol(config, ServerState(), {})
        self.transport = Transport()
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]  # as much as it uses
        self.client = ClientProtocol(parse_uri("ws://localhost/"))

    async def open(self) -> None:
        self.client.send_request(self.client.connect())
        self._pass_on()
        for task in list(self.protocol.tasks):
            await task
        self.client.receive_data(self.transport.written)
        self.transport.written = b""
        self.transport.closed = False

    def send(self, opcode: Opcode, data: bytes, *, fin: bool = True) -> None:
        if opcode is Opcode.PING:
            self.client.send_ping(data)
        elif opcode is Opcode.CONT:
            self.client.send_continuation(data, fin=fin)
        else:
            self.client.send_text(data, fin=fin)
        self._pass_on()

    def _pass_on(self) -> None:
        for data in self.client.data_to_send():
            self.protocol.data_received(data)

    def close_code(self) -> int | None:
        self.client.receive_data(self.transport.written)
        close = self.client.close_rcvd
        return None if close is None else int(close.code)

    def messages(self) -> list[Any]:
        items: Any = self.protocol.queue
        found = []
        while not items.empty():
            found.append(items.get_nowait())
        return [item["text"] for item in found if item["type"] == "websocket.receive"]


@pytest.fixture
async def conversation() -> Conversation:
    conversation = Conversation()
    await conversation.open()
    return conversation


def test_the_protocol_that_we_serve_with_has_the_limits() -> None:
    assert issubclass(StreamingWebSocketProtocol, LimitedWebSocketProtocol)


async def test_a_message_may_come_in_as_many_fragments_as_the_limit(
    conversation: Conversation,
) -> None:
    conversation.send(Opcode.TEXT, b"a", fin=False)
    for _ in range(MAX_FRAGMENTS - 2):
        conversation.send(Opcode.CONT, b"", fin=False)
    conversation.send(Opcode.CONT, b"b")
    assert conversation.messages() == ["ab"]
    assert conversation.close_code() is None


async def test_one_fragment_more_ends_the_connection(conversation: Conversation) -> None:
    conversation.send(Opcode.TEXT, b"a", fin=False)
    for _ in range(MAX_FRAGMENTS + 1):
        conversation.send(Opcode.CONT, b"", fin=False)
    assert conversation.close_code() == 1009
    assert conversation.transport.closed
    assert len(conversation.protocol.frames) <= MAX_FRAGMENTS


@pytest.mark.parametrize("cut", [[b"\xff"], [b"\xc3", b"\xa9\xff"]])
async def test_text_that_is_none_ends_the_connection(
    conversation: Conversation, cut: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    first, *rest = cut
    conversation.send(Opcode.TEXT, first, fin=not rest)
    for piece in rest:
        conversation.send(Opcode.CONT, piece)
    assert conversation.close_code() == 1007
    assert conversation.messages() == []
    assert "Traceback" not in caplog.text


async def test_text_may_be_cut_within_a_character(conversation: Conversation) -> None:
    conversation.send(Opcode.TEXT, b"\xc3", fin=False)
    conversation.send(Opcode.CONT, b"\xa9")
    assert conversation.messages() == ["é"]


async def test_a_ping_is_answered_while_answers_are_read(conversation: Conversation) -> None:
    conversation.send(Opcode.PING, b"x")
    answered = len(conversation.transport.written)
    assert answered > 0
    conversation.transport.waiting = HIGH_WATER_LIMIT
    for _ in range(10):
        conversation.send(Opcode.PING, b"x")
    assert len(conversation.transport.written) == answered
    conversation.transport.waiting = 0
    conversation.send(Opcode.PING, b"x")
    assert len(conversation.transport.written) == 2 * answered
