"""What counts as one client for the limits: an address, and an identity."""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from starlette.types import Scope

# A client with one IPv6 address has the rest of its subnet as well (RFC 6177).
IPV6_PREFIX = 64
MAX_ADDRESS_LENGTH = 64


class Client(NamedTuple):
    """A client's address, and its identity if it sent a token; an empty one has no limit.

    The address of loopback is empty: it belongs to this machine, or to a proxy on it that is not
    in RIPTIDE_TRUSTED_PROXIES, behind which all clients have the same address.
    """

    address: str = ""
    identity: str = ""


UNKNOWN = Client()
"""A client without limits."""


def client_of(scope: Scope, identity: str = "") -> Client:
    """Return the client of a request, whose scope has the address that a trusted proxy reports."""
    client = scope.get("client")
    return Client(_group(client[0]) if client else "", identity)


@functools.lru_cache(4096)
def _group(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A proxy may report anything as an address, like "unknown".
        return host[:MAX_ADDRESS_LENGTH]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            network = ipaddress.ip_network((address, IPV6_PREFIX), strict=False)
            return "" if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return "" if address.is_loopback else str(address)
