"""The response to a scrape of ``/metrics``."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

GZIP_LEVEL = 1


class Scrape(NamedTuple):
    """A response to a scrape. ``content_encoding`` is None if the body is not compressed."""

    body: bytes
    content_type: str
    content_encoding: str | None


class Exposition:
    """Renders a registry in the format that the scraper accepts.

    ``accept`` and ``accept_encoding`` are headers of the scraper's request. They choose between
    the Prometheus text format and OpenMetrics, and gzip.
    """

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def render(self, accept: str = "", accept_encoding: str = "") -> Scrape:
        """Collect and encode. Blocks while another scrape collects."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # The header asks for a version that is not a number.
            encode, content_type = choose_encoder("")
        body = encode(self._registry)
        if _accepts_gzip(accept_encoding):
            return Scrape(gzip.compress(body, GZIP_LEVEL), content_type, "gzip")
        return Scrape(body, content_type, None)

    async def scrape(self, accept: str = "", accept_encoding: str = "") -> Scrape:
        """Render on another thread, so that the event loop is not blocked."""
        return await asyncio.to_thread(self.render, accept, accept_encoding)


def _accepts_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.lower().split(","):
        coding, _, weight = "".join(part.split()).partition(";")
        if coding == "gzip":
            return weight.rstrip("0") not in {"q=", "q=0."}
    return False
