"""Debian's pushpin: a proxy that holds streams open (condure in Rust, proxy and handler in C++).

Pushpin's built-in route ``test`` stands for the backend and tells pushpin to hold each stream, so
no backend takes processor time from pushpin.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.peers.peer import SSE, START_DEADLINE_S, Peer, Serving, configured
from benchmarks.service import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def serve() -> Iterator[Serving]:
    """Run pushpin with the configuration beside this file."""
    with configured(
        ["pushpin.conf", "routes"],
        ["pushpin", "--config=$directory/pushpin.conf", "--merge-output"],
        ["port", "publish_port"],
        files=machine.open_files_limit() - 1_000,
    ) as serving:
        _wait_until_whole(serving.port)
        yield serving


def _wait_until_whole(port: int) -> None:
    """Wait until a stream opens: pushpin listens before its processes have found each other.

    Raises:
        RuntimeError: no stream opened in time.

    """
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        # A request that comes too early is never answered.
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=1)) as connection,
        ):
            connection.request("GET", PUSHPIN.path)
            if connection.getresponse().status == http.client.OK:
                return
        time.sleep(0.1)
    raise RuntimeError("pushpin opened no stream")


PUSHPIN = Peer(
    "pushpin",
    (SSE,),
    "/stream",
    {
        "path": "/publish/",
        "content_type": "application/json",
        "before": '{"items":[',
        "item_before": '{"channel":"test","formats":{"http-stream":{"content":"data: ',
        "item_after": '\\n\\n"}}}',
        "between": ",",
        "after": "]}",
        "escape": True,
    },
    serve,
    ("pushpin", "condure"),
)
