"""GET /healthz/live and /healthz/ready: whether to restart the process, or send it traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from riptide.access.gate import Gate
    from riptide.process.faults import Faults
    from riptide.storage.message_log import MessageLog
    from riptide.streaming.streams import Streams
    from riptide_telemetry import Telemetry


async def live(request: Request) -> Response:  # noqa: ARG001  # Starlette's signature
    """Answer 200 as long as the event loop turns."""
    return _answer({"status": "live"}, ok=True)


def not_ready(reason: str) -> Response:
    """Return the answer of a process whose log is not open: ``reason`` says why."""
    return _answer({"status": "not ready", "log": f"failing: {reason}"}, ok=False)


class Readiness:
    """The readiness of this process: whether to send it traffic.

    ``shown`` has more that is shown and does not decide, by name: functions of a text each.
    """

    def __init__(  # each is a part of its own
        self,
        streams: Streams,
        log: MessageLog,
        telemetry: Telemetry,
        faults: Faults,
        gate: Gate,
    ) -> None:
        self._streams = streams
        self._log = log
        self._faults = faults
        self._gate = gate
        self.shown: dict[str, Callable[[], str]] = {
            "connections": streams.describe,
            "clock": lambda: log.clock_doubt() or "ok",
            # Streams still work while an export fails.
            **{
                f"{signal}_export": health.describe
                for signal, health in telemetry.export_health.items()
            },
        }

    def is_ready(self) -> bool:
        """Return whether clients can publish and read."""
        return not (
            self._streams.draining
            or self._log.unavailable_reason()
            or self._faults.first
            or self._gate.keys_missing()
        )

    async def ready(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        """Answer 200 while clients can publish and read, 503 otherwise, and say why."""
        streams, failure = self._streams, self._log.unavailable_reason()
        fault, missing = self._faults.first, self._gate.keys_missing()
        checks = {
            "draining": "yes" if streams.draining else "no",
            "fault": "none" if fault is None else f"{fault} failed: the process drains and ends",
            "log": "ok" if failure is None else f"failing: {failure}",
            "keys": "ok" if missing is None else f"missing: {missing}",
            **{name: describe() for name, describe in self.shown.items()},
        }
        ok = self.is_ready()
        return _answer({"status": "ready" if ok else "not ready", **checks}, ok=ok)


def _answer(body: dict[str, str], *, ok: bool) -> Response:
    return Response(
        orjson.dumps(body),
        status_code=200 if ok else 503,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )
