"""GET /healthz/live and /healthz/ready: whether to restart the process, or send it traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from riptide.process.faults import Faults
    from riptide.storage.message_log import MessageLog
    from riptide.streaming.streams import Streams
    from riptide_telemetry import Telemetry


async def live(request: Request) -> Response:  # noqa: ARG001  # Starlette's signature
    """Answer 200 as long as the event loop turns."""
    return _answer({"status": "live"}, ok=True)


class Readiness:
    """The readiness of this process: whether to send it traffic."""

    def __init__(
        self, streams: Streams, log: MessageLog, telemetry: Telemetry, faults: Faults
    ) -> None:
        self._streams = streams
        self._log = log
        self._telemetry = telemetry
        self._faults = faults

    async def ready(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        """Answer 200 while new streams are accepted and the log takes messages, 503 otherwise."""
        streams, failure = self._streams, self._log.unavailable_reason()
        fault = self._faults.first
        exports = self._telemetry.export_health.items()
        checks = {
            "draining": "yes" if streams.draining else "no",
            "fault": "none" if fault is None else f"{fault} failed: the process drains and ends",
            "log": "ok" if failure is None else f"failing: {failure}",
            "connections": f"{len(streams.sessions)} of {streams.limit}",
            # Shown only: a failing export does not make the process unready, as streams still work.
            **{f"{signal}_export": health.describe() for signal, health in exports},
        }
        ok = failure is None and fault is None and not streams.draining
        return _answer({"status": "ready" if ok else "not ready", **checks}, ok=ok)


def _answer(body: dict[str, str], *, ok: bool) -> Response:
    return Response(
        orjson.dumps(body),
        status_code=200 if ok else 503,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )
