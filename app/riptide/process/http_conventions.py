"""Chooses the names of the metrics of plain HTTP requests, which OpenTelemetry does per process.

The instrumentation reads an environment variable, once. Its default are the names from before
HTTP's semantic conventions became stable.
"""

from __future__ import annotations

import os

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"


def use_stable_names() -> None:
    """Choose the stable names (``http.server.request.duration``), unless the variable is set.

    Call this when a process starts, before an application is made.
    """
    os.environ.setdefault(OPT_IN, "http")
