"""Whether the exports of each signal succeed, for the metrics and for the readiness check."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide_telemetry.labels import Signal

logger = logging.getLogger("riptide.export")

# At most one warning a minute for each signal, however long its collector is away.
REPORT_INTERVAL_S = 60.0


class ExportHealth:
    """The results of one signal's exports. The exporting thread writes, others read.

    ``endpoint`` is None if the signal is not exported. ``last_success`` is Unix time in seconds, 0
    before the first success.
    """

    def __init__(
        self,
        signal: Signal,
        endpoint: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.signal = signal
        self.endpoint = endpoint
        self.failures = 0
        self.last_success = 0.0
        self.queue_size: Callable[[], int] = lambda: 0
        self._clock = clock
        self._succeeded_at = -math.inf
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._silent_until = -math.inf
        self._failures_logged = False

    @property
    def enabled(self) -> bool:
        """Whether this signal is exported at all."""
        return self.endpoint is not None

    def succeeded(self) -> None:
        """Record an export that was accepted, and log the first one after logged failures."""
        self.last_success, self._succeeded_at = time.time(), self._clock()
        with self._lock:
            failures, self._failures_in_a_row = self._failures_in_a_row, 0
            logged, self._failures_logged = self._failures_logged, False
        if logged:
            logger.info(
                "%s reach %s again; %d exports failed", self.signal, self.endpoint, failures
            )

    def failed(self, reason: str) -> None:
        """Record a failed export, and log it if no failure was logged in the last minute."""
        with self._lock:
            self.failures += 1
            self._failures_in_a_row += 1
            failures, now = self._failures_in_a_row, self._clock()
            if now < self._silent_until:
                return
            self._silent_until = now + REPORT_INTERVAL_S
            self._failures_logged = True
        logger.warning(
            "%s do not reach %s (%s); %d exports failed in a row",
            self.signal,
            self.endpoint,
            reason,
            failures,
        )

    def describe(self) -> str:
        """Return the state in a few words, for the readiness check."""
        if not self.enabled:
            return "off"
        if self._failures_in_a_row:
            return f"failing: {self._failures_in_a_row} in a row, {self.queue_size()} waiting"
        if not self.last_success:
            return "nothing exported yet"
        return f"ok: last {self._clock() - self._succeeded_at:.0f} s ago"
