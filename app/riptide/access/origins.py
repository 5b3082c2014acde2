"""Which web pages may talk to the service on behalf of those who look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from riptide.errors import OriginError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Scope

ANY = "*"
DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins that are allowed beside our own; ``*`` allows any, but not by cookie."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = tuple(allowed)

    def check(self, scope: Scope, *, by_cookie: bool) -> None:
        """Let programs pass, which name no origin, and pages of origins that are allowed.

        Raises:
            OriginError: it is the page of somebody else.

        """
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None or origin in self.allowed or (ANY in self.allowed and not by_cookie):
            return
        if not _same(origin, headers.get("host", "")):
            raise OriginError(
                f"pages of {origin[:100]!r} may not do this: add it to RIPTIDE_ALLOWED_ORIGINS"
            )


def _same(origin: str, host: str) -> bool:
    """Return whether an origin is where the request went; TLS may end before us."""
    try:
        page, target = urlsplit(origin), urlsplit(f"//{host}")
        ports = page.port, target.port
    except ValueError:
        return False
    default = DEFAULT_PORTS.get(page.scheme)
    return (
        default is not None
        and page.hostname is not None
        and page.hostname == target.hostname
        and (ports[0] or default) == (ports[1] or default)
    )
