"""The real causes of alerts: what clients, hosts and operators do to a service."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import os
import signal
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import httpx2
import orjson

from operations.drill.certificates import make_certificate
from operations.drill.clients import Consumer, Publisher, publish, visit
from operations.drill.processes import DrillError
from operations.drill.resuming_reader import ResumingReader, sequence_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

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
# In the time of the rules: how long the alerts about lag fire at most when nobody is behind.
_LONGER_THAN_ALERTS_LAST_S: Final = 1200
_CUT_OFF_AGAIN: Final = 2


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


def resuming_slow_readers(count: int, *, read_share: float, alerts: Sequence[str]) -> Act:
    """Return the cause that consumers read this share of what is published, and always resume.

    At its end, all of them but one catch up, and the alerts have to go on; then the last one does.
    """

    async def act(stage: Stage) -> None:
        publisher = Publisher(stage.service, TOPIC, size_bytes=_SIZE, per_second=_PER_SECOND)
        pace = read_share * _SIZE * _PER_SECOND
        readers = [ResumingReader(stage.service, TOPIC, pace) for _ in range(count)]
        publishing = asyncio.create_task(publisher.run())
        tasks = [publishing, *(asyncio.create_task(reader.run()) for reader in readers)]
        try:
            for ended in (await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))[0]:
                ended.result()
        except asyncio.CancelledError:
            *others, last = readers
            await _catch_up(others, publisher)
            await stage.monitoring.pass_time(_LONGER_THAN_ALERTS_LAST_S)
            for alert in alerts:
                if not await stage.monitoring.fires(alert, stage.service.job):
                    raise DrillError(f"{alert} resolved while a reader was behind") from None
            if any(reader.cut_off_count < _CUT_OFF_AGAIN for reader in readers):
                raise DrillError("a reader that resumed was not cut off again") from None
            publishing.cancel()
            await _catch_up([last], publisher)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return act


async def _catch_up(readers: Sequence[ResumingReader], publisher: Publisher) -> None:
    """Let readers read as fast as they can until they have what is published by now."""
    until = sequence_of(publisher.last_id)
    for reader in readers:
        reader.bytes_per_second = float("inf")
    await asyncio.gather(*(reader.wait_for(until) for reader in readers))


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


def reading_the_log(directory: str) -> Act:
    """Return the act of another program that reads the log in one transaction, and does not end.

    ``directory`` is that of the log's data, in the service's own.
    """

    async def act(stage: Stage) -> None:
        path = stage.service.directory / directory / "riptide.db"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM topics").fetchall()
            await Publisher(stage.service, TOPIC, size_bytes=10, per_second=2).run()

    return act


async def stop_the_log(stage: Stage) -> None:
    """Stop the process of the log, and each that takes its place."""
    stopped: set[int] = set()
    try:
        while True:
            for pid in stage.service.children("riptide.workers.log_process"):
                if pid not in stopped:
                    stopped.add(pid)
                    os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(_VISIT_PAUSE_S)
    finally:
        for pid in stopped & set(stage.service.children("riptide.workers.log_process")):
            os.kill(pid, signal.SIGCONT)


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


async def raise_once(stage: Stage) -> None:
    """Make the faulty process raise, and start another when it has ended, as a supervisor would."""
    stage.service.send(signal.SIGUSR2)
    await stage.service.wait_for_end()
    await stage.service.start()
    try:
        await _forever()
    finally:
        await stage.service.restart()


def asking_in_vain(places: int, per_second: float) -> Act:
    """Return the cause that all places are taken, and others ask for streams at this rate."""

    async def act(stage: Stage) -> None:
        async with _consumers(stage.service, places), httpx2.AsyncClient(timeout=30) as client:
            while True:
                await client.get(stage.service.topic(TOPIC))
                await asyncio.sleep(1 / per_second)

    return act


def publishing_with(token: str, per_second: float) -> Act:
    """Return the cause that a publisher sends this token."""

    async def act(stage: Stage) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(timeout=30, headers=headers) as client:
            while True:
                await client.post(stage.service.topic(TOPIC), json=1)
                await asyncio.sleep(1 / per_second)

    return act


def certificate_left_to_expire(left: dt.timedelta) -> Act:
    """Return the cause that the certificate has only so much time left; then it is renewed."""

    async def act(stage: Stage) -> None:
        make_certificate(stage.service.directory, valid_for=left)
        await stage.service.restart()
        try:
            await _forever()
        finally:
            renew_certificate(stage.service.directory)

    return act


async def renew_half(stage: Stage) -> None:
    """Renew the certificate but not its key; then renew both."""
    key = stage.service.directory / "key.pem"
    old = key.read_bytes()
    renew_certificate(stage.service.directory)
    key.write_bytes(old)
    try:
        await _forever()
    finally:
        renew_certificate(stage.service.directory)


def renew_certificate(directory: Path) -> None:
    """Write a certificate that is valid for longer than any alert looks ahead."""
    make_certificate(directory, valid_for=dt.timedelta(days=90))


class WebServer:
    """Answers every request with the same body while it runs: a collector, or an issuer of keys."""

    def __init__(self, port: int, body: bytes = b"") -> None:
        self._port = port
        self._body = body
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen."""
        body = self._body

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # http.server's name
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:  # http.server's name
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

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
