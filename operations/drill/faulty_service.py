"""A service with faults: it loses count of messages at SIGUSR1, and raises at SIGUSR2.

No client can bring these about in a correct service. At the first signal the service reports to
the lifecycle, as a subscription would, that messages are unaccounted for. At the second one a
callback raises on its event loop. Everything behind these calls is real.
"""

from __future__ import annotations

import asyncio
import signal

from riptide.process.log_records import configure_logs
from riptide.server.listener import address_of, listen
from riptide.server.serving import serve
from riptide.service import make_service
from riptide.settings.settings import load_settings

MISSING_COUNT = 3


def _raise() -> None:
    raise LookupError("a fault that was put here")


def main() -> None:
    """Serve until a signal ends it."""
    settings = load_settings()
    configure_logs(settings.log_level)
    service = make_service(settings)
    lifecycle = service.telemetry.lifecycle
    signal.signal(signal.SIGUSR1, lambda *_: lifecycle.messages_unaccounted(MISSING_COUNT))

    def report() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, _raise)
        # The drill waits for this line.
        print(f"serving on {address_of(listener)}", flush=True)  # noqa: T201  # as said

    with listen(settings.host, settings.port) as listener:
        serve(service, listener, on_started=report)


if __name__ == "__main__":
    main()
