"""The listening socket."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from riptide.errors import AddressError

# Connections that may wait in the kernel until the event loop accepts them.
BACKLOG = 2048
ANY_IPV6 = "::"


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Port 0 takes any free port.

    ``::`` is every address of the machine, those of IPv4 too. An address of IPv6 may have brackets,
    as in a URL.

    Raises:
        AddressError: the address cannot be listened on.

    """
    try:
        family, address = _resolve(host, port)
        return socket.create_server(
            # Whole, because the address of a link names its interface behind the port.
            address,
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=address[0] == ANY_IPV6 and socket.has_dualstack_ipv6(),
        )
    except (OSError, UnicodeError) as error:
        # A UnicodeError means a host name with a label that is empty or too long.
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise AddressError(
            f"cannot listen on {host} port {port} ({why}): "
            "choose another address with RIPTIDE_HOST and RIPTIDE_PORT, "
            "or stop the program that has this one"
        ) from None


def address_to_reach(host: str, port: int) -> tuple[str, int]:
    """Return the address at which a program on this machine reaches ``listen(host, port)``.

    Raises:
        OSError: the host name has no address.

    """
    _, (address, port, *of_link) = _resolve(host, port)
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.is_unspecified:
        return "127.0.0.1" if isinstance(ip, ipaddress.IPv4Address) else "::1", port
    interface = of_link[1] if of_link else 0
    return f"{address}%{interface}" if interface and "%" not in address else address, port


def address_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Return the URL of a listener."""
    return url_of(listener.getsockname()[:2], tls=tls)


def url_of(address: tuple[str, int], *, tls: bool) -> str:
    """Return the URL of an address."""
    scheme = "https" if tls else "http"
    host, port = address
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Return the first address of a host, which is the one that is listened on."""
    without_brackets = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    family, _, _, _, address = socket.getaddrinfo(
        without_brackets, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return family, address
