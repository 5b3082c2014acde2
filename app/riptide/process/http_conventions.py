"""Which names the metrics of plain HTTP requests have; OpenTelemetry makes this choice per process.

The instrumentation reads an environment variable, once. Its own default is the names from before
the semantic conventions of HTTP became stable.
"""

from __future__ import annotations

import os

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"


def use_stable_names() -> None:
    """Choose the stable names (``http.server.request.duration``), unless the variable is set.

    To be called where a process begins, before an application is made.
    """
    os.environ.setdefault(OPT_IN, "http")
