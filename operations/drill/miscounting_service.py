"""A service that loses count of messages at a signal (SIGUSR1).

No client can make a correct service lose count. So this one has a fault: at the signal it reports
to the lifecycle, as a subscription would, that messages are unaccounted for. Everything behind
that call is real.
"""

from __future__ import annotations

import signal

from riptide.process.log_records import configure_logs
from riptide.server.listener import address_of, listen
from riptide.server.serving import serve
from riptide.service import make_service
from riptide.settings.settings import load_settings

MISSING_COUNT = 3


def main() -> None:
    """Serve until a signal ends it."""
    settings = load_settings()
    configure_logs(settings.log_level)
    service = make_service(settings)
    lifecycle = service.telemetry.lifecycle
    signal.signal(signal.SIGUSR1, lambda *_: lifecycle.messages_unaccounted(MISSING_COUNT))
    with listen(settings.host, settings.port) as listener:
        serve(
            service,
            listener,
            on_started=lambda: print(  # noqa: T201  # what the drill waits for
                f"serving on {address_of(listener)}", flush=True
            ),
        )


if __name__ == "__main__":
    main()
