"""Checks the Origin header: which web pages may use the service from their visitors' browsers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from riptide.errors import OriginError
from riptide.syntax.request_fields import RequestField, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Scope

ANY = "*"
DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins that are allowed besides the service's own.

    ``*`` allows any origin, except to requests whose token is in a cookie.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = tuple(allowed)

    def check(self, scope: Scope, *, by_cookie: bool) -> None:
        """Check that the request comes from an allowed page, or a program, which has no origin.

        Raises:
            OriginError: the request comes from a page of another origin.

        """
        origin = read(scope, RequestField.ORIGIN)
        if origin is None or origin in self.allowed or (ANY in self.allowed and not by_cookie):
            return
        if not _is_own_origin(origin, read(scope, RequestField.HOST) or ""):
            raise OriginError(
                f"pages of {origin[:100]!r} may not do this: add it to RIPTIDE_ALLOWED_ORIGINS"
            )


def _is_own_origin(origin: str, host: str) -> bool:
    """Return whether an origin has the host and port that the request was sent to.

    The schemes may differ, because a proxy may end TLS.
    """
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
