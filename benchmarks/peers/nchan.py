"""Debian's nginx with the module nchan: publish and subscribe in C."""

from __future__ import annotations

import contextlib
import getpass
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.peers.peer import SSE, WEBSOCKET, Peer, Serving, configured

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def serve() -> Iterator[Serving]:
    """Run nginx with the configuration beside this file."""
    with configured(
        ["nchan.conf"],
        ["nginx", "-c", "$directory/nchan.conf", "-e", "stderr"],
        ["port"],
        user=getpass.getuser(),
        files=machine.open_files_limit(),
    ) as serving:
        yield serving


NCHAN = Peer(
    "nchan",
    (SSE, WEBSOCKET),
    "/subscribe",
    {"path": "/publish", "content_type": "application/json"},
    serve,
    ("nginx",),
)
