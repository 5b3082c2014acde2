"""Traffic on two real services, and what its clients say that the dashboards have to show."""

from __future__ import annotations

import bisect
import contextlib
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from riptide_telemetry import catalog
from tests import plain
from tests.contract.raw import RawStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.prometheus import Prometheus
    from tests.service import Service

PROTOCOLS = ("ndjson", "sse", "websocket")
CONSUMERS = 2
HISTORY = 20
BATCHES = 4
BATCH = 50
PAYLOAD = "x" * 1000
# 12 MB: more than fits between a service and a client that does not read. A batch is less than the
# ring, so that nothing is dropped before a write has waited.
FLOOD_BATCHES = 12
FLOOD_BATCH = 50
FLOOD_PAYLOAD = "x" * 20_000
RING_MESSAGES = 100
# A masked frame of one byte, by RFC 6455; that it is binary is an error of its connection.
BINARY_FRAME = b"\x82\x81\x00\x00\x00\x00x"

# Of a service that drops for those who are slow, and one that disconnects them.
DROPPING: dict[str, Any] = {
    "slow_consumer": "drop_oldest",
    "ring_messages": RING_MESSAGES,
    "topic_labels": "orders",
    "max_connections": 100,
}
DISCONNECTING: dict[str, Any] = {**DROPPING, "slow_consumer": "disconnect"}


@dataclass
class Seen:
    """What the clients of one service saw, by protocol where there is one."""

    opened: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    durations: list[tuple[float, float]] = field(default_factory=list)
    """For each closed connection, what it lasted at least and at most."""

    def quantile(self, share: float, tolerance: float) -> tuple[float, float]:
        """Return between which bounds of the histogram a quantile of the durations lies.

        Prometheus extrapolates the counts of its window, so the share is right up to a tolerance.
        """
        last = len(self.durations) - 1
        ends = (share - tolerance, share + tolerance)
        least, most = (math.ceil(end * len(self.durations)) - 1 for end in ends)
        shortest = sorted(low for low, _ in self.durations)[max(0, least)]
        longest = sorted(high for _, high in self.durations)[min(last, most)]
        bounds = (0.0, *catalog.CONNECTION_DURATION.bounds)
        return (
            bounds[bisect.bisect_left(bounds, shortest) - 1],
            bounds[bisect.bisect_left(bounds, longest)],
        )


class Scenario:
    """All transports: live and replayed messages, drops, errors, reconnections, refusals."""

    def __init__(self, dropping: Service, disconnecting: Service, prometheus: Prometheus) -> None:
        self.dropping = dropping
        self.disconnecting = disconnecting
        self.seen = {dropping.url: Seen(), disconnecting.url: Seen()}
        self.began = time.time()
        self.ended = self.began
        self._prometheus = prometheus

    @contextlib.contextmanager
    def play(self) -> Iterator[None]:
        """Let it all happen; consumers of each transport stay until the context's end."""
        # Two, so that there are rates of nothing.
        self._prometheus.wait_for_scrape()
        self._prometheus.wait_for_scrape()
        self.began = time.time()
        with contextlib.ExitStack() as stack:
            self._fail()
            for protocol in PROTOCOLS:
                self._flood(self.dropping, protocol)
            self._flood(self.disconnecting, "ndjson")
            # Not before, since those who stay and do not answer pings are cut off after a while.
            stayers = self._deliver(stack)
            for _ in self._replay_and_resume():
                for stayer in stayers:
                    stayer.answer_pings()
            self._prometheus.wait_for_scrape()
            self.ended = time.time()
            yield

    @contextlib.contextmanager
    def _stream(
        self, service: Service, topic: str, protocol: str, first: str = "opened"
    ) -> Iterator[RawStream]:
        """Open a stream; note what came on it, and how long it was open, once it is left."""
        seen = self.seen[service.url]
        before_open = time.monotonic()
        with RawStream(service, topic, protocol) as stream:
            stream.read_until(f'"{first}"'.encode())
            seen.opened[protocol] += 1
            after_open = time.monotonic()
            yield stream
            seen.sent[protocol] += stream.messages()
            seen.dropped[protocol] += stream.missed()
            before_close = time.monotonic()
        seen.closed[protocol] += 1
        closed = sum(seen.closed.values())
        service.wait_for_metric(closed, catalog.CONNECTIONS_CLOSED.prometheus_name)
        seen.durations.append((before_close - after_open, time.monotonic() - before_open))

    def _deliver(self, stack: contextlib.ExitStack) -> list[RawStream]:
        """Deliver live messages to consumers that stay; return those over WebSocket."""
        seen = self.seen[self.dropping.url]
        self.dropping.publish("orders", *[PAYLOAD] * HISTORY)
        streams = []
        for protocol in PROTOCOLS * CONSUMERS:
            stream = stack.enter_context(RawStream(self.dropping, "orders", protocol))
            stream.wait_until_open()
            seen.opened[protocol] += 1
            streams.append((protocol, stream))
        for batch in range(BATCHES):
            self.dropping.publish("orders", *[PAYLOAD] * (BATCH - 1), f"batch {batch}")
            for _, stream in streams:
                stream.read_until(f'"batch {batch}"'.encode())
            self._prometheus.wait_for_scrape()
        for protocol, stream in streams:
            seen.sent[protocol] += stream.messages()
        return [stream for protocol, stream in streams if protocol == "websocket"]

    def _replay_and_resume(self) -> Iterator[None]:
        """Replay and resume over each transport; yields between the streams."""
        position = ""
        for protocol in PROTOCOLS:
            finite = "orders?after=earliest&until=latest"
            with self._stream(self.dropping, finite, protocol) as stream:
                stream.read_until(b'"end"')
                assert stream.messages() == HISTORY + BATCHES * BATCH
                position = stream.last_message_id()
            yield
        epoch, _, sequence = position.partition("-")
        before = f"{epoch}-{int(sequence) - BATCH}"
        last = f'"batch {BATCHES - 1}"'.encode()
        for protocol in PROTOCOLS:
            with self._stream(
                self.dropping, f"orders?after={before}", protocol, "resumed"
            ) as stream:
                stream.read_until(last)
                assert stream.messages() == BATCH
            yield
        with self._stream(self.dropping, "orders?after=00000000-1", "sse", "reset") as stream:
            stream.read_until(last)

    def _fail(self) -> None:
        """Be refused, publish nonsense, and break a protocol."""
        topic = self.dropping.topic("orders")
        assert plain.get(topic, params={"after": "nonsense"}).status_code == 400
        json = {"Content-Type": "application/json"}
        assert plain.post(topic, content=b"{", headers=json).status_code == 400
        with self._stream(self.dropping, "orders", "websocket") as stream:
            stream.socket.sendall(BINARY_FRAME)
            stream.read_until(b'"end"')
        self.seen[self.dropping.url].errors += 1

    def _flood(self, service: Service, protocol: str) -> None:
        """Publish to a consumer that does not read, until it has lost messages."""
        topic = f"flood-{protocol}"
        with self._stream(service, topic, protocol) as stalled:
            for _ in range(FLOOD_BATCHES):
                service.publish(topic, *[FLOOD_PAYLOAD] * FLOOD_BATCH)
            self._prometheus.wait_for_scrape()
            if service is self.disconnecting:
                stalled.read_until(b'"end"')
                self.seen[service.url].errors += 1
            else:
                service.publish(topic, "the last")
                stalled.read_until(b'"the last"')
                offered = FLOOD_BATCHES * FLOOD_BATCH + 1
                assert stalled.messages() + stalled.missed() == offered
                assert stalled.missed() > offered / 10
