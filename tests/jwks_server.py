"""An issuer's web server, as real as needed: answers with keys, or does not."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.issuer import Issuer

from tests.issuer import jwk_set


class JwksServer:
    """Serves ``body`` with ``status``, counts requests, and can be made to hang."""

    def __init__(self, *issuers: Issuer) -> None:
        self.status = 200
        self.body = jwk_set(*issuers)
        self.requests = 0
        self.answering = threading.Event()
        self.answering.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                outer.answering.wait()
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def publish(self, *issuers: Issuer) -> None:
        """Replace the keys."""
        self.body = jwk_set(*issuers)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()
