"""The real causes of alerts: what clients, hosts and operators do to a service."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import httpx2
import orjson

from operations.drill.clients import Consumer, Publisher, publish, visit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operations.drill.processes import Service
    from operations.drill.scenario import Act, Stage

TOPIC: Final = "drill"
_VISITS: Final = 20
_VISIT_PAUSE_S: Final = 0.5
# At this size and rate, the kernel's buffers of a slow reader fill and half empty about once a
# second.
_SIZE: Final = 8192
_PER_SECOND: Final = 100
_MEGABYTE: Final = 1024 * 1024
_BATCH_MESSAGES: Final = 4


async def _forever() -> None:
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _consumers(
    service: Service, count: int, topic: str = TOPIC, *, small_buffers: bool = False
) -> AsyncIterator[list[Consumer]]:
    consumers: list[Consumer] = []
    try:
        for _ in range(count):
            consumer = Consumer(service, topic)
            consumers.append(consumer)
            await consumer.open(small_buffers=small_buffers)
        yield consumers
    finally:
        for consumer in consumers:
            consumer.close()


def failing_visitors(share: float) -> Act:
    """Return the cause that this share of all WebSocket clients breaks the protocol."""

    async def act(stage: Stage) -> None:
        due = 0.0
        while True:
            due += share * _VISITS
            bad = int(due)
            due -= bad
            await asyncio.gather(
                *(
                    visit(stage.service, TOPIC, break_the_protocol=number < bad)
                    for number in range(_VISITS)
                )
            )
            await asyncio.sleep(_VISIT_PAUSE_S)

    return act


def unread_megabytes(count: int) -> Act:
    """Return the cause that a topic's ring holds so many megabytes, one a message."""

    async def act(stage: Stage) -> None:
        message = orjson.dumps("x" * _MEGABYTE)
        client = httpx2.AsyncClient(timeout=60, trust_env=False)
        async with _consumers(stage.service, 1), client:
            for _ in range(count // _BATCH_MESSAGES):
                await publish(client, stage.service.topic(TOPIC), [message] * _BATCH_MESSAGES)
            await _forever()

    return act


def slow_readers(slow: int, fast: int, *, read_share: float) -> Act:
    """Return the cause that some consumers read only this share of what is published."""

    async def act(stage: Stage) -> None:
        publisher = Publisher(stage.service, TOPIC, size_bytes=_SIZE, per_second=_PER_SECOND)
        pace = read_share * _SIZE * _PER_SECOND
        async with (
            _consumers(stage.service, slow, small_buffers=True) as slow_ones,
            _consumers(stage.service, fast) as fast_ones,
        ):
            await asyncio.gather(
                publisher.run(),
                *(consumer.read(pace) for consumer in slow_ones),
                *(consumer.read() for consumer in fast_ones),
            )

    return act


def stalled_readers(count: int) -> Act:
    """Return the cause that consumers read nothing until they are cut off, and come back."""

    async def stall(service: Service) -> None:
        while True:
            async with _consumers(service, 1, small_buffers=True):
                await asyncio.sleep(3)

    async def act(stage: Stage) -> None:
        publisher = Publisher(stage.service, TOPIC, size_bytes=_SIZE, per_second=_PER_SECOND)
        await asyncio.gather(publisher.run(), *(stall(stage.service) for _ in range(count)))

    return act


def connected(count: int) -> Act:
    """Return the cause that so many consumers are connected."""

    async def act(stage: Stage) -> None:
        async with _consumers(stage.service, count):
            await _forever()

    return act


def long_visits(count: int, *, seconds: float, per_second: float) -> Act:
    """Return the cause that consumers stay for some seconds, and then leave one by one."""

    async def act(stage: Stage) -> None:
        async with _consumers(stage.service, count) as consumers:
            await asyncio.sleep(seconds)
            for consumer in consumers:
                consumer.close()
                await asyncio.sleep(1 / per_second)
            await _forever()

    return act


async def listen_to_the_wrong_topic(stage: Stage) -> None:
    """Publish to one topic while the consumer listens to another."""
    async with _consumers(stage.service, 1, "quiet"):
        await Publisher(stage.service, "busy", size_bytes=10, per_second=2).run()


def reconnecting(count: int, *, pause_s: float) -> Act:
    """Return the cause that consumers lose their connection again and again, and resume."""

    async def come_back(service: Service, last_id: str) -> None:
        for _ in itertools.count():
            consumer = Consumer(service, TOPIC, f"?after={quote(last_id)}")
            try:
                await consumer.open()
                await asyncio.sleep(pause_s)
            finally:
                consumer.close()

    async def act(stage: Stage) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            last_id = await publish(client, stage.service.topic(TOPIC), [b'"one"'])
        await asyncio.gather(*(come_back(stage.service, last_id) for _ in range(count)))

    return act


async def freeze(stage: Stage) -> None:
    """Stop the process for more than a second (SIGSTOP), as a busy host would."""
    stage.service.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(1.5)
    finally:
        stage.service.send(signal.SIGCONT)
    await _forever()


async def crash_again_and_again(stage: Stage) -> None:
    """Kill the process and start it again, each time that it has been scraped."""
    while True:
        before = await stage.monitoring.start_time(stage.service.job)
        await stage.service.restart(killed=True)
        await stage.monitoring.wait_until_scraped(stage.service.job, before)


async def stop_the_process(stage: Stage) -> None:
    """Stop the process, but keep its target in service discovery."""
    await stage.service.stop()
    try:
        await _forever()
    finally:
        await stage.service.start()


async def forget_the_target(stage: Stage) -> None:
    """Remove the target from service discovery."""
    stage.service.not_be_scraped()
    try:
        await _forever()
    finally:
        stage.service.be_scraped()


async def drop_series_while_scraping(stage: Stage) -> None:
    """Load a scrape configuration that drops the buckets of an objective."""
    stage.monitoring.configure(blind=True)
    stage.monitoring.reload()
    try:
        await _forever()
    finally:
        stage.monitoring.configure(blind=False)
        stage.monitoring.reload()


async def lose_count(stage: Stage) -> None:
    """Make the faulty process lose count; a new process at the end has nothing unaccounted."""
    stage.service.send(signal.SIGUSR1)
    try:
        await _forever()
    finally:
        await stage.service.restart()


class Collector:
    """Accepts everything that is sent to it as OTLP over HTTP, while it runs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen."""

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # http.server's name
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop listening, so that connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    async def disappear(self, _stage: Stage) -> None:
        """Stop until the cause ends."""
        await asyncio.to_thread(self.stop)
        try:
            await _forever()
        finally:
            self.start()
