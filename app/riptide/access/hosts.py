"""By which names the service may be asked for its messages, where it asks for no token itself.

A page that makes its own name point to this machine (DNS rebinding) is no foreign page to the
browser: it could read and publish what only programs on this machine should. The name that the
browser then asks for is still the page's.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from riptide.errors import UnknownHostError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Scope

ANY = "*"


class Hosts:
    """The names of loopback, and those that are allowed beside them; ``*`` allows any."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)

    def check(self, scope: Scope) -> None:
        """Let requests pass that ask for one of our names, or for none, as no browser does.

        Raises:
            UnknownHostError: it is somebody else's, for all we know.

        """
        if ANY in self._allowed:
            return
        host = Headers(scope=scope).get("host")
        if not host:
            return
        name, is_loopback = _resolve(host)
        if not is_loopback and name not in self._allowed:
            raise UnknownHostError(
                f"this service does not know itself as {host[:100]!r}: ask for localhost, or add "
                "the name to RIPTIDE_ALLOWED_HOSTS"
            )


# A service is asked for by few names, thousands of times a second.
@functools.lru_cache(maxsize=64)
def _resolve(host: str) -> tuple[str, bool]:
    """Return the name or address in a Host header, and whether it can only be loopback's."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return "", False
    # RFC 6761, section 6.3: no name server is asked for these.
    if name == "localhost" or name.endswith(".localhost"):
        return name, True
    try:
        return name, ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name, False
