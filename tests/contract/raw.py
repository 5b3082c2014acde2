"""A consumer on a bare socket: it reads when told to, and leaves without a goodbye."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import struct
import time
from typing import TYPE_CHECKING, Self

import httpx2
from websockets.protocol import Protocol, Side, State

from tests.slow_socket import slow_socket
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.service import Service

MESSAGE_ID = re.compile(rb'"id":"([0-9a-f]{8}-[0-9]+)","time":"[^"]*","data"')
MISSED = re.compile(rb'"missed":([0-9]+)')
BACKPRESSURE = "riptide_streaming_backpressure_events_total"
WAITS = "riptide_streaming_write_wait_seconds_count"
SENT = "riptide_streaming_messages_sent_total"
DROPPED = "riptide_streaming_messages_dropped_total"
LOOKS, LOOK_S = 5, 0.05
BATCH = 500
# More than any kernel keeps for a socket.
ENOUGH = 100_000
ACCEPT = {"ndjson": "application/x-ndjson", "sse": "text/event-stream"}


class RawStream:
    """One stream; what was read of it stands in ``data``, framing of the transport included."""

    def __init__(
        self,
        service: Service,
        topic: str,
        protocol: str,
        extra_headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> None:
        self._service = service
        self._topic = topic
        self._protocol = protocol
        url = httpx2.URL(service.topic(topic) + query)
        self.socket = slow_socket()
        self.socket.connect((url.host, url.port))
        headers = [f"GET {url.raw_path.decode()} HTTP/1.1", f"Host: {url.host}"]
        if protocol == "websocket":
            key = base64.b64encode(os.urandom(16)).decode()
            headers += ["Connection: Upgrade", "Upgrade: websocket"]
            headers += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        else:
            headers += [f"Accept: {ACCEPT[protocol]}"]
        headers += [f"{name}: {value}" for name, value in (extra_headers or {}).items()]
        self.socket.sendall("\r\n".join([*headers, "", ""]).encode())
        self.data = b""
        self._unanswered = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
        self._answered = 0
        # How many messages it has published.
        self.published = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def wait_until_open(self) -> None:
        """Read the head and the first record."""
        self.read_until(b'"opened"')

    def publish(self, count: int) -> None:
        """Publish so many messages to its topic, each a kilobyte that begins with its number."""
        until = self.published + count
        assert until <= ENOUGH, "the stream never stalled"
        for start in range(self.published, until, BATCH):
            numbers = range(start, min(start + BATCH, until))
            self._service.publish(self._topic, *[f"{n:06} {'x' * 1000}" for n in numbers])
        self.published = until

    def stall(self) -> None:
        """Publish until a write to this stream waits for good.

        How much the kernel takes before that differs from machine to machine. A batch is published
        only after the one before was taken: a service that is slow just now would otherwise judge
        the stream by the messages of several.
        """
        before = self._taken() - self.published
        while not self._waits(before + self.published):
            self.publish(BATCH)

    def publish_until(self, condition: Callable[[], object]) -> None:
        """Publish, as long as no write waits, until something is true."""
        while not condition():
            if not self._waits_now():
                self.publish(BATCH)

    def _waits(self, published: float) -> bool:
        """Return whether a write waits, and goes on to: the kernel may yet make room for it.

        It is false as soon as all that was published has been taken.
        """
        deadline = time.monotonic() + DEADLINE_S
        looks = 0
        while looks < LOOKS:
            assert time.monotonic() < deadline, "the stream neither takes its messages nor waits"
            if self._waits_now():
                looks += 1
            elif self._taken() >= published:
                return False
            else:
                looks = 0
            time.sleep(LOOK_S)
        return True

    def _taken(self) -> float:
        """Return how many messages the streams of its protocol have sent or passed over."""
        samples = self._service.metrics()
        label = f'{{protocol="{self._protocol}"'
        return sum(
            count
            for name, count in samples.items()
            if name.startswith((SENT + label, DROPPED + label))
        )

    def _waits_now(self) -> bool:
        samples = self._service.metrics()
        label = f'{{protocol="{self._protocol}"}}'
        return samples[BACKPRESSURE + label] > samples[WAITS + label]

    def read_until(self, text: bytes) -> None:
        """Read until the text has come."""
        chunks = [self.data]
        tail = self.data
        while text not in tail:
            chunk = self.socket.recv(256 * 1024)
            assert chunk, f"the stream ended before {text!r}"
            chunks.append(chunk)
            tail = tail[-len(text) :] + chunk
        self.data = b"".join(chunks)

    def answer_pings(self) -> None:
        """Read what has come over a WebSocket that stays, and answer its pings.

        The service cuts those off that do not for 40 s.
        """
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while chunk := self.socket.recv(256 * 1024):
                self.data += chunk
        self.socket.settimeout(DEADLINE_S)
        frames = self.data.partition(b"\r\n\r\n")[2]
        self._unanswered.receive_data(frames[self._answered :])
        self._answered = len(frames)
        self._unanswered.events_received()
        for pong in self._unanswered.data_to_send():
            self.socket.sendall(pong)

    def messages(self) -> int:
        """Return how many different messages have been read."""
        return len(set(MESSAGE_ID.findall(self.data)))

    def last_message_id(self) -> str:
        last: bytes = MESSAGE_ID.findall(self.data)[-1]
        return last.decode()

    def missed(self) -> int:
        """Return how many messages the stream has said it dropped."""
        # An event's record is all that says so, once.
        return sum(int(count) for count in MISSED.findall(self.data))

    def read_less_than_is_published(self, text: bytes) -> None:
        """Read an eighth of what is published meanwhile, until the text has come."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.data:
            assert time.monotonic() < deadline, f"no {text!r} came"
            self.publish(BATCH)
            # The service judges by time, and a quick machine would publish all there is before.
            time.sleep(0.05)
            chunk = self.socket.recv(64 * 1024)
            assert chunk, f"the stream ended before {text!r}"
            self.data += chunk

    def reset(self) -> None:
        """Vanish: the other side gets a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
