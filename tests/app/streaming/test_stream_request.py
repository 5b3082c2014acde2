from __future__ import annotations

import math

from riptide.admission.client import UNKNOWN
from riptide.streaming.stream_request import StreamRequest


def test_a_request_for_a_topic_alone_is_for_what_is_published_from_now_on_without_end() -> None:
    request = StreamRequest("a")
    assert (request.after, request.until, request.traceparent) == (None, None, "")
    assert request.client is UNKNOWN
    assert request.expires_at == math.inf
