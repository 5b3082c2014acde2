"""The least that a server can do, in Go: it shows what the kernel and the client allow."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import load_client
from benchmarks.peers.peer import SSE, Peer, Serving, started
from benchmarks.service import wait_for_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def serve() -> Iterator[Serving]:
    """Run ``loadclient blast``."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        with started([str(load_client.built()), "blast"], log) as process:
            port = wait_for_port(process, log)
            yield Serving(port, port, process.pid)


BLASTER = Peer(
    "blaster",
    (SSE,),
    "/",
    {"path": "/", "content_type": "application/json"},
    serve,
)
