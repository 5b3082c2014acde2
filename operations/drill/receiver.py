"""The webhook that Alertmanager delivers to. It keeps each delivery, and when it came."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class AlertKey(NamedTuple):
    """The labels that tell one alert of the drill from another."""

    name: str
    job: str = ""
    window: str = ""

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Self:
        """Return the key of an alert with these labels."""
        return cls(labels["alertname"], labels.get("job", ""), labels.get("window", ""))


class Delivery(NamedTuple):
    """One alert of one notification."""

    key: AlertKey
    status: str
    receiver: str
    at: float


class WebhookReceiver:
    """An HTTP server on a thread of its own, which adds to ``deliveries``."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # http.server's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, notification: Mapping[str, Any]) -> None:
        """Keep the alerts of a notification as deliveries."""
        now = time.monotonic()
        self.deliveries += [
            Delivery(AlertKey.of(alert["labels"]), alert["status"], notification["receiver"], now)
            for alert in notification["alerts"]
        ]

    def first(self, key: AlertKey, status: str, since: float) -> Delivery | None:
        """Return the first delivery of an alert after a moment, if it has come."""
        return next(
            (
                each
                for each in self.deliveries
                if each.key == key and each.status == status and each.at >= since
            ),
            None,
        )

    def last_at(self, key: AlertKey) -> float:
        """Return when an alert was last delivered; 0 if never."""
        return max((each.at for each in self.deliveries if each.key == key), default=0.0)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
