from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from riptide.errors import MalformedRequestError, TransferCodingError
from riptide.server.http_limits import RequestLimits
from riptide.server.request_head import as_handshake, check_head, elements, offers_websocket
from tests.app.exchange import Exchange, serve
from tests.waiting import in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = (b"host", b"localhost")


def head(*lines: str) -> list[tuple[bytes, bytes]]:
    split = (line.split(": ", 1) for line in lines)
    return [(name.lower().encode(), value.encode()) for name, value in split]


def test_a_list_has_the_elements_of_all_its_lines_in_lower_case() -> None:
    lines = head("Connection: Keep-Alive,\tUPGRADE\t,,", "X: y", "Connection: close")
    assert list(elements(lines, b"connection")) == [b"keep-alive", b"upgrade", b"close"]


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: Upgrade", "Upgrade: websocket"),
        ("Connection: keep-alive, Upgrade", "Upgrade: WebSocket"),
        ("Connection: Upgrade", "Connection: keep-alive", "Upgrade: websocket"),
        ("Connection: Upgrade", "Upgrade: h2c, websocket"),
        ("Connection: Upgrade", "Upgrade: HTTP/2.0,\twebsocket/13"),
        ("Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"),
    ],
)
def test_websocket_may_be_offered_among_other_protocols(lines: tuple[str, ...]) -> None:
    headers = [HOST, *head(*lines)]
    assert offers_websocket(headers)
    assert as_handshake(headers) == [HOST, (b"connection", b"Upgrade"), (b"upgrade", b"websocket")]


@pytest.mark.parametrize(
    "lines",
    [
        ("Upgrade: websocket",),
        ("Connection: close", "Upgrade: websocket"),
        ("Connection: Upgrade",),
        ("Connection: Upgrade", "Upgrade: h2c, websockets"),
    ],
)
def test_what_is_no_offer_of_websocket_is_none(lines: tuple[str, ...]) -> None:
    assert not offers_websocket(head(*lines))


@pytest.mark.parametrize("values", [("a", "b"), ("a", "a")])
def test_a_request_names_one_host(values: tuple[str, str]) -> None:
    with pytest.raises(MalformedRequestError, match="Host"):
        check_head(head(*(f"Host: {value}" for value in values)))


@pytest.mark.parametrize(
    ("lines", "waits"),
    [
        (("Expect: 100-Continue",), True),
        (("Expect: something, 100-continue",), True),
        (("Expect: something", "Expect: 100-continue"), True),
        (("Expect: something",), False),
        ((), False),
    ],
)
def test_a_client_waits_for_a_100_if_one_of_its_expectations_says_so(
    lines: tuple[str, ...], *, waits: bool
) -> None:
    assert check_head([HOST, *head(*lines)]) is waits


@pytest.mark.parametrize("codings", ["gzip, chunked", "gzip,\tchunked", "deflate"])
def test_a_transfer_coding_that_nobody_decodes_is_refused(codings: str) -> None:
    with pytest.raises(TransferCodingError):
        check_head(head(f"Transfer-Encoding: {codings}"))
    check_head(head("Transfer-Encoding: Chunked "))


class Seeing:
    """An application that keeps the headers it gets, and answers nothing in particular."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers = [*scope["headers"]]
        await receive()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange[Seeing]]:
    async with serve(Seeing(), RequestLimits()) as exchange:
        yield exchange


async def test_the_application_gets_values_without_white_space_around_them(
    exchange: Exchange[Seeing],
) -> None:
    answer = await exchange.answer(
        b"GET / HTTP/1.1\r\nHost: \t localhost \t\r\nLast-Event-ID:a b\t \r\nX:\t\r\n"
        b"Connection: close\t\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert exchange.app.headers == [
        (b"host", b"localhost"),
        (b"last-event-id", b"a b"),
        (b"x", b""),
        (b"connection", b"close"),
    ]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"Host: elsewhere", b"400"),
        (b"Transfer-Encoding: gzip, chunked", b"501"),
    ],
)
async def test_a_head_that_is_refused_is_answered_and_not_passed_on(
    line: bytes, status: bytes, exchange: Exchange[Seeing]
) -> None:
    answer = await exchange.answer(b"POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % line)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"application/problem+json" in answer
    assert exchange.app.headers == []


async def test_a_client_that_expects_a_100_among_others_is_told_to_go_on(
    exchange: Exchange[Seeing],
) -> None:
    reader, writer = await exchange.open()
    await exchange.say(
        writer,
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: x, 100-continue \r\nContent-Length: 1\r\n\r\n",
    )
    assert (await in_time(reader.readline())).startswith(b"HTTP/1.1 100 ")
    writer.close()
