"""A request to publish, as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from riptide.admission.client import UNKNOWN, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class PublishRequest(NamedTuple):
    """What a publisher asks for, nothing of it checked yet.

    ``content_type`` is the header's value, empty where there was none. ``content_length`` is what
    its header promises, in bytes, None if the length is unknown.
    ``traceparent`` names the publisher's own span (W3C Trace Context), or is empty.
    """

    topic: str
    content_type: str
    body: AsyncIterator[bytes]
    content_length: int | None = None
    content_encoding: str = "identity"
    traceparent: str = ""
    client: Client = UNKNOWN
