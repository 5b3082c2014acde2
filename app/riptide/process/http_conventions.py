"""What OpenTelemetry's instrumentation of plain HTTP requests reads from the environment by itself.

It reads two variables, each once in a process: which names its metrics have, and in which headers
traces come.
"""

from __future__ import annotations

import os
from typing import Any

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
PROPAGATORS = "OTEL_PROPAGATORS"

# The second one shows the metrics under their old names as well.
_STABLE = {"http", "http/dup"}


def use_stable_names() -> None:
    """Have the metrics under their stable names (``http.server.request.duration``).

    The instrumentation's default are the names from before HTTP's semantic conventions became
    stable. Whatever else the variable says stays. Call this when a process starts, before an
    application is made.
    """
    chosen = [part.strip() for part in os.environ.get(OPT_IN, "").split(",") if part.strip()]
    if not _STABLE.intersection(chosen):
        os.environ[OPT_IN] = ",".join([*chosen, "http"])


def load_instrumentation() -> Any:
    """Return the middleware, with W3C trace context, which is all that Riptide uses.

    The variable of the propagators is hidden from the import: a name that is not installed raises
    an error, and ``none`` lets every request fail.
    """
    named = os.environ.pop(PROPAGATORS, None)
    try:
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415  # see above
    finally:
        if named is not None:
            os.environ[PROPAGATORS] = named
    return OpenTelemetryMiddleware
