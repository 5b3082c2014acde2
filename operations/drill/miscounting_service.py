"""A Riptide that loses count when it is told to.

No client can make a right Riptide lose count of messages. So this one process has a fault put into
it: at a signal it reports, through the lifecycle as any subscription would, that messages are
unaccounted for. Everything behind that call is real.
"""

from __future__ import annotations

import signal

from riptide.main import create_app
from riptide.process.log_records import configure_logs
from riptide.server.serving import address_of, listen, serve
from riptide.settings.settings import load_settings

MISSING = 3


def main() -> None:
    """Serve until a signal ends it."""
    settings = load_settings()
    configure_logs(settings.log_level)
    app = create_app(settings)
    lifecycle = app.state.telemetry.lifecycle
    signal.signal(signal.SIGUSR1, lambda *_: lifecycle.messages_unaccounted(MISSING))
    with listen(settings.host, settings.port) as listener:
        serve(
            app,
            listener,
            on_started=lambda: print(  # noqa: T201  # what the drill waits for
                f"serving on {address_of(listener)}", flush=True
            ),
        )


if __name__ == "__main__":
    main()
