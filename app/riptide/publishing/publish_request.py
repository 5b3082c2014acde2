"""A request to publish, as received."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from riptide.admission.client import UNKNOWN, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class PublishRequest(NamedTuple):
    """What a publisher asks for, unchecked.

    ``content_type`` is the header's value, empty if there was none. ``content_length`` is the
    header's value in bytes, None if there was none. ``traceparent`` names the publisher's own span
    (W3C Trace Context), or is empty.
    """

    topic: str
    content_type: str
    body: AsyncIterator[bytes]
    content_length: int | None = None
    content_encoding: str = "identity"
    traceparent: str = ""
    client: Client = UNKNOWN
