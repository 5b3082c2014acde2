"""Riptide with telemetry on, and with its log in memory unless the benchmark is about the log."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.peer import NDJSON, SSE, WEBSOCKET, Peer, Serving, started
from benchmarks.service import environment_of, wait_for_port

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CONNECTIONS = 15_000


@contextlib.contextmanager
def serve(
    *, cores: set[int] | None = None, python: Path = Path(sys.executable), **settings: object
) -> Iterator[Serving]:
    """Run ``riptide serve``; ``log="sqlite"`` sets RIPTIDE_LOG.

    It runs on the server's core unless it is given others. ``python`` may be that of another
    version.
    """
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "output")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RIPTIDE", "OTEL"))
        }
        with started(
            [str(python), "-m", "riptide.cli", "serve"],
            log,
            inherited
            | environment_of(
                telemetry=True,
                max_connections=MAX_CONNECTIONS,
                data_dir=Path(directory, "data"),
                **settings,
            ),
            cores,
        ) as process:
            port = wait_for_port(process, log)
            yield Serving(port, port, process.pid)


RIPTIDE = Peer(
    "riptide",
    (SSE, NDJSON, WEBSOCKET),
    "/topics/load",
    {"path": "/topics/load", "content_type": "application/json"},
    serve,
    batches={"content_type": "application/x-ndjson", "between": "\n"},
)
