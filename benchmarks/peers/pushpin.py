"""Debian's pushpin: a proxy that holds streams open (condure in Rust, proxy and handler in C++).

Its own route ``test`` plays the backend: it tells pushpin to hold each stream, so no backend of
ours takes time from it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.peers.peer import SSE, Peer, Serving, configured

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
        yield serving


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
