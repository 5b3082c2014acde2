"""What scripts of web pages of other origins may send and read (CORS)."""

from __future__ import annotations

from riptide.syntax.request_fields import RequestField

# Companions of ``traceparent`` (W3C Trace Context, W3C Baggage), which tracing in a page sends too.
_TRACING = {"tracestate", "baggage"}
# Stand-ins for ``EventSource`` send it, as the real one does.
_UNREAD = {"Cache-Control"}

EXPOSED_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")
"""Headers of responses that pages may read, beside those that they always may."""


def allowed_headers() -> list[str]:
    """Return the header fields of requests that pages may send.

    They are the fields that the service reads, and those that belong to them.
    """
    read = {field.title for field in RequestField if field.from_pages}
    return sorted(read | _TRACING | _UNREAD)
