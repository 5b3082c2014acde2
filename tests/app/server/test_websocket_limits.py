from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from riptide.server.protocols import StreamingWebSocketProtocol
from riptide.server.websocket_limits import (
    MAX_FRAGMENTS,
    MAX_FRAMES_A_SECOND,
    PIECE_BYTES,
    LimitedWebSocketProtocol,
)
from tests.waiting import eventually, turns


class Transport:
    """The least of a transport: what was written, how much of it waits, whether it is read."""

    def __init__(self) -> None:
        self.written = b""
        self.reading = True
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

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

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
        self.prepare(opcode, data, fin=fin)
        self._pass_on()

    def send_at_once(self, opcode: Opcode, data: bytes, count: int) -> int:
        """Send the frame so many times in one piece; return how long that is."""
        for _ in range(count):
            self.prepare(opcode, data)
        piece = b"".join(self.client.data_to_send())
        self.protocol.data_received(piece)
        return len(piece)

    def prepare(self, opcode: Opcode, data: bytes, *, fin: bool = True) -> None:
        if opcode is Opcode.PING:
            self.client.send_ping(data)
        elif opcode is Opcode.PONG:
            self.client.send_pong(data)
        elif opcode is Opcode.CONT:
            self.client.send_continuation(data, fin=fin)
        else:
            self.client.send_text(data, fin=fin)

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


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.TEXT])
@pytest.mark.parametrize("at_once", [True, False])
async def test_more_frames_in_a_second_than_a_client_may_send_end_the_connection(
    conversation: Conversation, opcode: Opcode, *, at_once: bool
) -> None:
    clock = Clock(conversation)
    conversation.send_at_once(opcode, b"", MAX_FRAMES_A_SECOND)
    assert conversation.close_code() is None
    # Another second, another two hundred.
    clock.now += 1
    if at_once:
        conversation.send_at_once(opcode, b"", MAX_FRAMES_A_SECOND + 1)
    else:
        for _ in range(MAX_FRAMES_A_SECOND):
            conversation.send(opcode, b"")
        assert not conversation.transport.closed
        clock.now += 0.9
        conversation.send(opcode, b"")
    assert conversation.transport.closed
    assert conversation.close_code() == 1008


class Clock:
    """Stands in for the clock of the protocol's loop."""

    def __init__(self, conversation: Conversation) -> None:
        self.now = conversation.protocol.loop.time() + 10
        self.call_soon = conversation.protocol.loop.call_soon
        conversation.protocol.loop = self  # type: ignore[assignment]  # as much as it uses

    def time(self) -> float:
        return self.now


async def test_too_many_frames_before_the_handshake_is_answered_end_it_without_a_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    conversation = Conversation()
    conversation.client.send_request(conversation.client.connect())
    conversation.protocol.data_received(b"".join(conversation.client.data_to_send()))
    # A masked ping; the client of the library would wait for the answer.
    conversation.protocol.data_received(b"\x89\x80\0\0\0\0" * (MAX_FRAMES_A_SECOND + 1))
    assert conversation.transport.closed
    assert conversation.transport.written == b""
    for task in list(conversation.protocol.tasks):
        task.cancel()
    assert "Traceback" not in caplog.text


async def test_too_many_frames_after_our_last_word_end_the_wait_for_the_clients(
    conversation: Conversation,
) -> None:
    await conversation.protocol.send({"type": "websocket.close", "code": 1000})
    assert not conversation.transport.is_closing()
    conversation.send_at_once(Opcode.PONG, b"", MAX_FRAMES_A_SECOND + 1)
    assert conversation.transport.closed
    assert conversation.close_code() == 1000


async def test_much_at_once_is_parsed_a_piece_a_turn_and_no_more_is_read_meanwhile(
    conversation: Conversation,
) -> None:
    size = conversation.send_at_once(Opcode.TEXT, b"x" * 60_000, 1)
    turns_of_others = 0
    while not (messages := conversation.messages()):
        assert not conversation.transport.reading
        await asyncio.sleep(0)
        turns_of_others += 1
    assert messages == ["x" * 60_000]
    assert turns_of_others >= size // PIECE_BYTES - 1
    # uvicorn reads on when the application has taken the message.
    assert not conversation.transport.reading


async def test_what_still_comes_while_a_piece_is_parsed_follows_it(
    conversation: Conversation,
) -> None:
    # TLS hands on what it has, whether reading is paused or not.
    pings = PIECE_BYTES // 100
    conversation.send_at_once(Opcode.PING, b"x" * 100, pings)
    conversation.send_at_once(Opcode.PING, b"last", 1)
    assert not conversation.transport.reading
    await eventually(lambda: b"last" in conversation.transport.written)
    assert conversation.transport.written.count(b"x" * 100) == pings
    assert conversation.transport.reading


async def test_a_message_that_is_taken_does_not_let_more_be_read_before_the_rest_is_parsed(
    conversation: Conversation,
) -> None:
    conversation.prepare(Opcode.TEXT, b"first")
    conversation.prepare(Opcode.TEXT, b"second" * PIECE_BYTES)
    conversation.protocol.data_received(b"".join(conversation.client.data_to_send()))
    assert (await conversation.protocol.receive())["type"] == "websocket.connect"
    assert (await conversation.protocol.receive())["text"] == "first"
    assert not conversation.transport.reading
    assert (await conversation.protocol.receive())["text"] == "second" * PIECE_BYTES
    assert conversation.transport.reading


async def test_the_rest_of_what_came_is_forgotten_with_the_connection(
    conversation: Conversation,
) -> None:
    conversation.send_at_once(Opcode.TEXT, b"x" * 60_000, 1)
    conversation.transport.close()
    await turns()
    assert conversation.messages() == []
