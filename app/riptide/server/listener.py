"""The listening socket."""

from __future__ import annotations

import socket

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
        family, _, _, _, address = socket.getaddrinfo(
            _without_brackets(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
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


def _without_brackets(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def address_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Return the URL of a listener."""
    scheme = "https" if tls else "http"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
