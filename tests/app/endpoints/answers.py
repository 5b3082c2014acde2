"""One request to the application, and its whole answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from starlette.datastructures import Headers

from tests.asgi import AsgiExchange, http_scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.applications import Starlette

PROBLEM = "application/problem+json"


class Answer(NamedTuple):
    """A response that has ended."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)

    @property
    def problem(self) -> str:
        """The kind of problem that it is; fails if it is none, or not a proper one."""
        assert self.headers["content-type"] == PROBLEM
        assert self.json["status"] == self.status
        assert self.json["title"]
        assert self.json["detail"]
        kind: str = self.json["type"]
        return kind.removeprefix("urn:riptide:problem:")


async def read_answer(exchange: AsgiExchange) -> Answer:
    """Read a response to its end."""
    start = await exchange.next()
    assert start["type"].endswith("http.response.start"), start
    body = b""
    while True:
        piece = await exchange.next()
        body += piece.get("body", b"")
        if not piece.get("more_body", False):
            return Answer(start["status"], Headers(raw=start["headers"]), body)


async def ask(
    app: Starlette,
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Answer:
    """Send a request with its body in one piece, and read the answer."""
    exchange = AsgiExchange(app, http_scope(method, path, query=query, headers=headers))
    await exchange.send({"type": "http.request", "body": body, "more_body": False})
    return await read_answer(exchange)


async def publish(app: Starlette, topic: str, *payloads: bytes) -> list[str]:
    """Publish a batch and return the ids of its first and last message."""
    answer = await ask(
        app,
        "POST",
        f"/topics/{topic}",
        headers=[("Content-Type", "application/x-ndjson")],
        body=b"\n".join(payloads),
    )
    assert answer.status == 202, answer
    return [answer.json["ids"]["first"], answer.json["ids"]["last"]]
