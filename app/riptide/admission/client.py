"""Who is asking: what the limits for each client go by."""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from starlette.types import Scope

# Who has one IPv6 address has all of its subnet (RFC 6177).
IPV6_PREFIX = 64
MAX_ADDRESS_LENGTH = 64


class Client(NamedTuple):
    """A client by its address, and by its identity where it has shown one; empty: no limits.

    Loopback has no address here: it is the machine itself, or a proxy on it that nobody has told
    us to trust, and so the same address for everybody.
    """

    address: str = ""
    identity: str = ""


UNKNOWN = Client()
"""A client that no limit is kept for."""


def client_of(scope: Scope, identity: str = "") -> Client:
    """Return the client of a request, whose address trusted proxies have been asked for."""
    client = scope.get("client")
    return Client(_group(client[0]) if client else "", identity)


@functools.lru_cache(4096)
def _group(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A proxy may call it anything ("unknown").
        return host[:MAX_ADDRESS_LENGTH]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            network = ipaddress.ip_network((address, IPV6_PREFIX), strict=False)
            return "" if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return "" if address.is_loopback else str(address)
