"""A request to open a stream, as received."""

from __future__ import annotations

import math
from typing import NamedTuple

from riptide.admission.client import UNKNOWN, Client


class StreamRequest(NamedTuple):
    """What a consumer asks for, unchecked, and who the consumer is.

    ``after`` and ``until`` are texts of the request, None where it has none. ``traceparent``
    names the client's own span (W3C Trace Context), or is empty. The stream ends at ``expires_at``
    at the latest, in Unix time.
    """

    topic: str
    after: str | None = None
    until: str | None = None
    traceparent: str = ""
    client: Client = UNKNOWN
    expires_at: float = math.inf
