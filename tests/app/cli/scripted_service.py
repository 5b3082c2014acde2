"""A small service on a real port that keeps the HTTP contract, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import HTTPConnection, Request
    from starlette.websockets import WebSocket

EPOCH = "0badcafe"
TIME = "2026-11-23T19:54:31.123Z"


def problem(
    status: int, detail: str, *, retry_after: float | None = None, **extra: Any
) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse(
        {
            "type": "urn:riptide:problem:x",
            "title": "X",
            "status": status,
            "detail": detail,
            **extra,
        },
        status,
        headers,
        "application/problem+json",
    )


def message_id(sequence: int) -> str:
    return f"{EPOCH}-{sequence}"


def message(sequence: int, payload: bytes) -> bytes:
    return b'{"id":"%s-%d","time":"%s","data":%s}' % (
        EPOCH.encode(),
        sequence,
        TIME.encode(),
        payload,
    )


def control(event: str, **members: Any) -> bytes:
    return orjson.dumps({"event": event, **members})


class ScriptedService:
    """Remembers what arrived in ``bodies`` and ``queries``.

    ``answers`` are given to the next requests instead of what they ask for, ``scripts`` are the
    records of the next streams; while it is ``holding``, publishers get no answer.
    """

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.queries: list[dict[str, str]] = []
        self.authorizations: list[str | None] = []
        self.answers: deque[Response] = deque()
        self.scripts: deque[list[bytes]] = deque()
        self.max_body = 8 * 1024 * 1024
        self.max_message = 1024 * 1024
        self.holding = False
        self.stopping = False
        self.port = 0
        self.app = Starlette(
            routes=[
                Route("/topics/{topic}", self.publish, methods=["POST"]),
                Route("/topics/{topic}", self.subscribe, methods=["GET"]),
                WebSocketRoute("/topics/{topic}", self.websocket),
            ]
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> list[Any]:
        return [orjson.loads(payload) for payload in self.payloads]

    async def publish(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        self.authorizations.append(request.headers.get("authorization"))
        while self.holding and not self.stopping:  # noqa: ASYNC110  # set by another thread
            await asyncio.sleep(0.005)
        if self.answers:
            return self.answers.popleft()
        if len(body) > self.max_body:
            return problem(413, f"the body is over {self.max_body} bytes: send less at once")
        payloads = []
        for number, line in enumerate(body.split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                orjson.loads(line)
            except ValueError:
                return problem(400, f"line {number}: not valid JSON: repair it", line=number)
            if len(line) > self.max_message:
                return problem(413, f"line {number}: too large: send it elsewhere", line=number)
            payloads.append(line)
        first = len(self.payloads) + 1
        self.payloads += payloads
        ids = {"first": message_id(first), "last": message_id(len(self.payloads))}
        return JSONResponse({"topic": "logs", "ids": ids, "count": len(payloads)}, 202)

    async def subscribe(self, request: Request) -> Response:
        if self.answers:
            return self.answers.popleft()
        sse = "text/event-stream" in request.headers["accept"]

        async def body() -> AsyncIterator[bytes]:
            async for records in self.records(request):
                yield b"".join(map(_sse if sse else _line, records))

        media_type = "text/event-stream; charset=utf-8" if sse else "application/x-ndjson"
        return StreamingResponse(body(), media_type=media_type)

    async def websocket(self, websocket: WebSocket) -> None:
        if self.answers:
            await websocket.send_denial_response(self.answers.popleft())
            return
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            async for records in self.records(websocket):
                for record in records:
                    await websocket.send_text(record.decode())
            await websocket.close()

    async def records(self, request: HTTPConnection) -> AsyncIterator[list[bytes]]:
        query = dict(request.query_params)
        self.queries.append(query)
        self.authorizations.append(request.headers.get("authorization"))
        if self.scripts:
            for record in self.scripts.popleft():
                yield [record]
            return
        after, until = query.get("after", "latest"), query.get("until")
        named = {"earliest": 0, "latest": len(self.payloads)}
        cursor = named[after] if after in named else int(after.split("-")[1])
        goal = len(self.payloads)
        yield [control("opened" if after in named else "resumed", id=message_id(cursor))]
        while not self.stopping:
            some = self.payloads[cursor : cursor + 256]
            if some:
                yield [message(cursor + n, payload) for n, payload in enumerate(some, 1)]
                cursor += len(some)
            if until and cursor >= goal:
                reason = {"reason": "completed", "reconnect": False}
                yield [control("end", id=message_id(cursor), **reason)]
                return
            if not some:
                await asyncio.sleep(0.005)


def _line(record: bytes) -> bytes:
    return record + b"\n"


def _sse(record: bytes) -> bytes:
    members = orjson.loads(record)
    head = f"event: {members['event']}\n" if "event" in members else ""
    if "id" in members:
        head += f"id: {members['id']}\n"
    return head.encode() + b"data: " + record + b"\n\n"


@contextlib.contextmanager
def running(service: ScriptedService) -> Iterator[None]:
    listener = socket.create_server(("127.0.0.1", 0))
    service.port = listener.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            service.app,
            log_level="critical",
            lifespan="off",
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield
    finally:
        service.stopping = server.should_exit = True
        thread.join()
        listener.close()
