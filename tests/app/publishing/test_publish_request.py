from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.admission.client import UNKNOWN
from riptide.publishing.publish_request import PublishRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def _body() -> AsyncIterator[bytes]:
    yield b"1"


async def test_what_a_request_leaves_out_is_unknown_and_not_compressed() -> None:
    request = PublishRequest("a", "application/json", _body())
    assert request.content_length is None
    assert request.content_encoding == "identity"
    assert request.traceparent == ""
    assert request.client is UNKNOWN
    assert [chunk async for chunk in request.body] == [b"1"]
