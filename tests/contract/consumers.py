"""One consumer a transport, each on a library of its own, all alike to the contract."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any, Protocol

import httpx2
import orjson
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


Record = dict[str, Any]


class Site(Protocol):
    """Where topics are: a service, or what stands before several."""

    def topic(self, name: str) -> str: ...


class RefusedError(Exception):
    """The stream was refused; carries the answer's status, headers and problem details."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        super().__init__(f"{status} {body.decode()}")
        self.status = status
        self.headers = headers
        self.problem: Record = orjson.loads(body)


class Consumer:
    """An open stream: an asynchronous iterator of records, until the server ends it."""

    def __init__(self, records: AsyncIterator[Record]) -> None:
        self._records = records
        self.close_code: int | None = None

    def __aiter__(self) -> AsyncIterator[Record]:
        return self._records

    async def next(self, event: str | None = None) -> Record:
        """Return the next record; of those named ``event`` ("message" for messages)."""
        async for record in self._records:
            if event is None or record.get("event", "message") == event:
                return record
        raise EOFError("the stream ended")

    async def messages(self, count: int) -> list[Record]:
        """Return the next messages, passing over all else."""
        return [await self.next("message") for _ in range(count)]

    async def rest(self) -> list[Record]:
        """Return all records until the stream ends."""
        return [record async for record in self._records]


class NdjsonTransport:
    """NDJSON, read as bytes: line readers of HTTP libraries split at more than newlines."""

    name = "ndjson"

    @contextlib.asynccontextmanager
    async def open(self, service: Site, topic: str, **query: str) -> AsyncIterator[Consumer]:
        headers = {"Accept": "application/x-ndjson"}
        async with (
            plain.async_client() as client,
            client.stream("GET", service.topic(topic), params=query, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise RefusedError(response.status_code, response.headers, await response.aread())
            assert response.headers["content-type"] == "application/x-ndjson"
            yield Consumer(self._records(response))

    async def _records(self, response: httpx2.Response) -> AsyncIterator[Record]:
        rest = b""
        async for chunk in response.aiter_bytes():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield orjson.loads(line)
        assert rest == b"", "the body ended within a record"


class SseTransport:
    """Server-Sent Events, by httpx2's own client."""

    name = "sse"

    @contextlib.asynccontextmanager
    async def open(self, service: Site, topic: str, **query: str) -> AsyncIterator[Consumer]:
        headers = {}
        if query.get("after", "") not in {"", "latest", "earliest"}:
            headers["Last-Event-ID"] = query.pop("after")
        async with (
            plain.async_client() as client,
            client.sse(
                service.topic(topic), params=query, headers=headers, max_event_size=None
            ) as events,
        ):
            response = events.response
            if response.status_code != 200:
                raise RefusedError(response.status_code, response.headers, await response.aread())
            yield Consumer(self._records(events))

    async def _records(self, events: httpx2.EventSource) -> AsyncIterator[Record]:
        async for event in events:
            record = orjson.loads(event.data)
            # The fields of the event say the same as the record in it.
            assert event.event == record.get("event", "message")
            assert event.id == record["id"]
            assert event.retry == record.get("retry")
            yield record


class WebSocketTransport:
    """WebSocket, by the websockets library."""

    name = "websocket"

    @contextlib.asynccontextmanager
    async def open(self, service: Site, topic: str, **query: str) -> AsyncIterator[Consumer]:
        url = httpx2.URL(service.topic(topic).replace("http", "ws", 1), params=query)
        try:
            async with plain.connect(str(url), max_size=None) as websocket:
                consumer = Consumer(iter(()))  # type: ignore[arg-type]  # replaced in the next line
                consumer._records = self._records(websocket, consumer)
                yield consumer
                # What it has not read stands before the service's part of the farewell.
                await asyncio.gather(websocket.close(), self._read_to_its_end(websocket))
        except InvalidStatus as refusal:
            answer = refusal.response
            raise RefusedError(
                answer.status_code, answer.headers, bytes(answer.body or b"")
            ) from None

    async def _read_to_its_end(self, websocket: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await websocket.recv()

    async def _records(self, websocket: Any, consumer: Consumer) -> AsyncIterator[Record]:
        try:
            while True:
                text = await websocket.recv()
                assert isinstance(text, str)
                yield orjson.loads(text)
        except ConnectionClosed:
            consumer.close_code = websocket.close_code


Transport = NdjsonTransport | SseTransport | WebSocketTransport
TRANSPORTS: tuple[Transport, ...] = (NdjsonTransport(), SseTransport(), WebSocketTransport())
_numbers = itertools.count()


def numbered(count: int, make: Callable[[int], Any] = lambda number: number) -> list[Any]:
    """Return distinct payloads."""
    return [make(next(_numbers)) for _ in range(count)]
