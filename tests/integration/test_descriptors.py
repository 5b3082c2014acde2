"""More clients than the process may have files open: they are answered, and the log says why."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import httpx2
import pytest

from operations.drill.certificates import make_certificate
from tests import plain
from tests.contract.consumers import TRANSPORTS, RefusedError
from tests.contract.raw import RawStream
from tests.service import RIPTIDE, Service
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LIMIT, ROOM = 64, 16
FULL = f"nearly all {LIMIT} files that this process may open are open"


class LimitedService(Service):
    """A service that is started under limits to its open files."""

    def __init__(self, directory: Path, limits: str, **settings: object) -> None:
        super().__init__(directory, settings)
        self.command: Sequence[str | Path] = (
            "sh",
            "-c",
            f'{limits} && exec "$0" serve',
            RIPTIDE,
        )


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[LimitedService]:
    service = LimitedService(tmp_path, f"ulimit -n {LIMIT}").start()
    yield service
    assert service.stop() == 0
    assert "Traceback" not in service.log, service.log


def _is_ready(service: Service) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return plain.get(f"{service.url}/healthz/ready").status_code == 200
    return False


def _warnings(service: Service) -> list[str]:
    return [line for line in service.log.splitlines() if " WARNING " in line]


async def test_streams_beyond_the_descriptors_are_refused_and_all_else_is_answered(
    limited: LimitedService, topic: str
) -> None:
    (warning,) = _warnings(limited)
    assert f"is 10000, but this process may open {LIMIT} files only" in warning
    assert limited.metric("riptide_connection_limit") == ROOM
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(TRANSPORTS[number % 3].open(limited, topic))
            for number in range(ROOM)
        ]
        for consumer in consumers:
            await consumer.next("opened")
        for number in range(70):
            with pytest.raises(RefusedError) as caught:
                async with TRANSPORTS[number % 3].open(limited, topic):
                    pass
            refusal = caught.value
            assert refusal.status == 503
            assert int(refusal.headers["retry-after"]) >= 1
            assert refusal.headers["connection"] == "close"
            assert refusal.problem["type"] == "urn:riptide:problem:connection-limit"
            assert f"all {ROOM} places" in refusal.problem["detail"]
        assert plain.get(f"{limited.url}/healthz/ready").status_code == 200
        assert limited.metric("riptide_streaming_connections_rejected_total") == 70
        limited.publish(topic, "to all of them")
        for consumer in consumers:
            assert (await consumer.next("message"))["data"] == "to all of them"
    assert FULL not in limited.log


def test_an_event_source_that_reconnects_makes_room_as_well(
    limited: LimitedService, topic: str
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(ROOM):
            stack.enter_context(RawStream(limited, topic, "sse")).wait_until_open()
        with RawStream(limited, topic, "sse", {"Last-Event-ID": "00000000-7"}) as refused:
            refused.read_until(b'"reconnect":true')
            assert b"connection: close" in refused.data.lower()
            assert refused.socket.recv(1000) == b""


def test_connections_that_ask_for_nothing_cannot_use_them_up_in_silence(
    limited: LimitedService, topic: str
) -> None:
    address = ("127.0.0.1", int(limited.settings["PORT"]))
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(address, DEADLINE_S)) for _ in range(LIMIT)
        ]
        # The last one was answered though it has said nothing, and it is let go.
        answer = b""
        while piece := silent[-1].recv(10_000):
            answer += piece
        head, _, body = answer.lower().partition(b"\r\n\r\n")
        assert head.startswith(b"http/1.1 503 ")
        assert b"retry-after: 5" in head
        assert b"connection: close" in head
        assert b"urn:riptide:problem:connection-limit" in body
        wait_until(lambda: FULL in limited.log, lambda: limited.log)
        wait_until(lambda: "a connection was refused with 503" in limited.log, lambda: limited.log)
    # Once the service has heard that they have gone, nothing is left of it.
    wait_until(lambda: _is_ready(limited))
    with RawStream(limited, topic, "ndjson") as stream:
        stream.wait_until_open()


def test_handshakes_of_tls_that_never_end_cannot_use_them_up_in_silence(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    service = LimitedService(
        tmp_path,
        f"ulimit -n {LIMIT}",
        tls_certificate=certificate,
        tls_key=key,
        log="memory",
    ).start()
    address = ("127.0.0.1", int(service.settings["PORT"]))
    with contextlib.ExitStack() as stack:
        for _ in range(LIMIT):
            stack.enter_context(socket.create_connection(address, DEADLINE_S))
        wait_until(lambda: FULL in service.log, lambda: service.log)
    assert service.stop() == 0


def test_a_low_limit_that_may_be_raised_is(tmp_path: Path) -> None:
    service = LimitedService(
        tmp_path, "ulimit -S -n 64 && ulimit -H -n 1024", max_connections=500, log="memory"
    ).start()
    assert service.metric("process_max_fds") == 1024
    assert service.metric("riptide_connection_limit") == 500
    assert _warnings(service) == []
    assert service.stop() == 0


def test_each_worker_knows_its_limit(tmp_path: Path) -> None:
    service = LimitedService(
        tmp_path, f"ulimit -n {LIMIT}", max_connections=40, workers=2, log="memory"
    ).start()
    try:
        # The port is open before any worker answers.
        health = plain.get(f"{service.url}/healthz/ready").json()
        assert health["connections"] == "0 of 40 in all workers"
        said = f"may open {LIMIT} files only: it will serve {ROOM} streams"
        wait_until(lambda: service.log.count(said) == 2, lambda: service.log)
    finally:
        assert service.stop() == 0
