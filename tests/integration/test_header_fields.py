"""Header fields as clients and proxies may write them (RFC 9110, section 5), to a real service."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests import plain
from tests.service import Service
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

RANGE = "?after=earliest&until=latest"
KEY = "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng=="
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("fields"), {"log": "memory"}).start()
    service.publish("a", 1, 2)
    yield service
    assert service.stop() == 0
    assert "Traceback" not in service.log


def ask(service: Service, target: str, *lines: str, until: bytes = b"") -> bytes:
    """Send a head, and return what comes, to its end or until something has come."""
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client:
        client.sendall("\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode())
        received = b""
        while not (until and until in received) and (chunk := client.recv(65536)):
            received += chunk
        return received


@pytest.mark.parametrize("padding", [" ", "\t", " \t "])
def test_white_space_around_values_is_no_part_of_them(service: Service, padding: str) -> None:
    (first,) = re.findall(rb'"([0-9a-f]{8}-1)"', ask_all(service))
    lines = [
        f"Host:{padding}localhost{padding}",
        f"Accept:{padding}text/event-stream{padding}",
        f"Last-Event-ID:{padding}{first.decode()}{padding}",
        f"Connection:{padding}close{padding}",
    ]
    answer = ask(service, "/topics/a?until=latest", *lines)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"text/event-stream" in answer
    assert (b'"data":1' in answer, b'"data":2' in answer) == (False, True)


def ask_all(service: Service) -> bytes:
    return plain.get(service.topic("a") + RANGE).content


@pytest.mark.parametrize(
    "lines",
    [
        ("Accept: application/json", "Accept: text/event-stream"),
        ("Accept: text/event-stream, foo",),
        ("Accept: foo", "Accept: text/event-stream;q=0.5", "Accept: */*;q=0.1"),
    ],
)
def test_every_line_of_accept_counts_and_what_is_unknown_takes_nothing_away(
    service: Service, lines: tuple[str, ...]
) -> None:
    answer = ask(service, "/topics/a" + RANGE, "Host: localhost", "Connection: close", *lines)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"text/event-stream" in answer


@pytest.mark.parametrize(
    "changed",
    [
        ("Upgrade: websocket ", "Connection: Upgrade\t"),
        ("Upgrade: h2c, websocket", "Connection: keep-alive,\tUpgrade"),
        ("Upgrade: websocket/13", "Connection: Upgrade", "Connection: keep-alive"),
        ("Upgrade: h2c", "Upgrade: WebSocket", "Connection: Upgrade", KEY),
        ("Upgrade: websocket", "Connection: Upgrade, ,close"),
    ],
)
def test_a_handshake_may_be_written_in_any_way_that_http_allows(
    service: Service, changed: tuple[str, ...]
) -> None:
    lines = ["Host: localhost\t", *UPGRADE[2:], *changed]
    answer = ask(service, "/topics/a?after=earliest", *lines, until=b'"data":2')
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b'"data":2' in answer


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        (("Host: localhost", "Host: localhost"), b"Host"),
        (("Host: localhost", "Last-Event-ID: 00000000-1", "Last-Event-ID: 00000000-2"), b"Last"),
        (("Host: localhost", *UPGRADE, "Origin: http://a", "Origin: http://b"), b"Origin"),
        (("Host: localhost", *UPGRADE, "Sec-WebSocket-Key: YQ=="), b"Sec-WebSocket-Key"),
        (("Host: localhost", "Authorization: Bearer a", "Authorization: Basic b"), b"Author"),
    ],
)
def test_two_values_where_there_is_one_are_refused_and_the_field_is_named(
    service: Service, lines: tuple[str, ...], field: bytes
) -> None:
    answer = ask(service, "/topics/a" + RANGE, *lines, until=field)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert field in answer
