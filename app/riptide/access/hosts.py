"""Checks the Host header, which protects a service without tokens from DNS rebinding.

A page whose own host name points at this machine (DNS rebinding) and the service have, for the
browser, the same origin. The page could read and publish what only programs on this machine
should, but its requests still name the page's host.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from riptide.errors import UnknownHostError
from riptide.syntax.request_fields import RequestField, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Scope

ANY = "*"


class Hosts:
    """The host names that requests may have: those of loopback, and ``allowed``; ``*`` is any."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)

    def check(self, scope: Scope) -> None:
        """Check that the request has an allowed host, or none: browsers always send one.

        Raises:
            UnknownHostError: the request has another host.

        """
        if ANY in self._allowed:
            return
        host = read(scope, RequestField.HOST)
        if not host:
            return
        name, is_loopback = _parse_host(host)
        if not is_loopback and name not in self._allowed:
            raise UnknownHostError(
                f"this service does not know itself as {host[:100]!r}: ask for localhost, or add "
                "the name to RIPTIDE_ALLOWED_HOSTS"
            )


# Requests name few different hosts, thousands of times a second.
@functools.lru_cache(maxsize=64)
def _parse_host(host: str) -> tuple[str, bool]:
    """Return the name or address in a Host header, and whether it is certainly loopback's."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return "", False
    # Resolvers take these names for loopback without asking a name server (RFC 6761, section 6.3).
    if name == "localhost" or name.endswith(".localhost"):
        return name, True
    try:
        return name, ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name, False
