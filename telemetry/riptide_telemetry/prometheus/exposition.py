"""What ``/metrics`` answers."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

GZIP_LEVEL = 1


class Scrape(NamedTuple):
    """An answer to a scraper."""

    body: bytes
    content_type: str
    content_encoding: str | None


class Exposition:
    """Scrapes of a registry, in the format that the scraper accepts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def render(self, accept: str = "", accept_encoding: str = "") -> Scrape:
        """Collect and encode; blocks while another scrape collects."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # It asks for a version that is no number.
            encode, content_type = choose_encoder("")
        body = encode(self._registry)
        if _accepts_gzip(accept_encoding):
            return Scrape(gzip.compress(body, GZIP_LEVEL), content_type, "gzip")
        return Scrape(body, content_type, None)

    async def scrape(self, accept: str = "", accept_encoding: str = "") -> Scrape:
        """Render on another thread, so that the event loop runs on meanwhile."""
        return await asyncio.to_thread(self.render, accept, accept_encoding)


def _accepts_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";")
        if coding == "gzip":
            return weight not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
