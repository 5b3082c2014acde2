"""Things that listen where a Collector should be, and are none."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def hung_endpoint() -> Iterator[str]:
    """Accept every connection, take what comes, and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        held: list[socket.socket] = []

        def accept() -> None:
            # Ends when the listening socket is shut down.
            with contextlib.suppress(OSError):
                while True:
                    held.append(listening.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert held, "nobody has tried"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


class _Busy(BaseHTTPRequestHandler):
    """429 for everybody."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the name that the base class looks for
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(429)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def busy_endpoint() -> Iterator[str]:
    """Answer every export with 429 Too Many Requests."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Busy) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
