"""What our HTTP clients take from the environment: a proxy, and the authorities of TLS.

A client of httpx2 by itself fails as a whole if any variable names a proxy that it cannot use, also
where it would need none. No client reads ``.netrc``, which would replace a configured token.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class UnusableEnvironmentError(ValueError):
    """A variable that HTTP clients read cannot be used; its text is one line."""


def client_options(url: str) -> dict[str, Any]:
    """Return the options with which a client of httpx2 reaches a URL. Blocks for some 50 ms.

    Raises:
        UnusableEnvironmentError: a variable names a proxy or certificates that cannot be used.

    """
    import httpx2  # noqa: PLC0415  # slow to import, and few processes need it

    proxy = proxy_of(url)
    return {
        "trust_env": False,
        "proxy": proxy and httpx2.Proxy(proxy, ssl_context=_tls_of(proxy)),
        # Without TLS, no authority is needed, and an empty context is loaded sooner.
        "verify": _tls_of(url) or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }


def proxy_of(url: str) -> str | None:
    """Return the proxy through which a URL is reached; None if it is reached directly.

    This machine is always reached directly: a proxy would look for it on its own machine.

    Raises:
        UnusableEnvironmentError: the proxy is none of HTTP.

    """
    parts = urlsplit(url)
    host, proxies = parts.hostname or "", getproxies()
    scheme = next((each for each in (parts.scheme, "all") if proxies.get(each)), None)
    if scheme is None or _is_direct(host, proxies):
        return None
    proxy = proxies[scheme]
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not _is_http(proxy):
        # The value is not shown, because it may have a password.
        raise UnusableEnvironmentError(
            f"{scheme.upper()}_PROXY must be the URL of an HTTP proxy, like http://proxy:3128 "
            f"(SOCKS is not supported); or list {host} in NO_PROXY"
        )
    return proxy


def _is_direct(host: str, proxies: dict[str, str]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or bool(proxy_bypass(host))
    return (
        address.is_loopback
        or bool(proxy_bypass(host))
        or any(address in network for network in _networks(proxies.get("no", "")))
    )


def _networks(no_proxy: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks of NO_PROXY, like 10.0.0.0/8; the rest of the list are names."""
    networks = []
    for part in no_proxy.split(","):
        try:
            networks.append(ipaddress.ip_network(part.strip(), strict=False))
        except ValueError:
            continue
    return networks


def _is_http(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and proxy.isascii()
            and proxy.isprintable()
            and " " not in proxy
        )
    except ValueError:
        return False


def _tls_of(url: str) -> ssl.SSLContext | None:
    """Return the authorities with which a server is verified, or None if it speaks no TLS."""
    import httpx2  # noqa: PLC0415  # as in client_options

    if urlsplit(url).scheme != "https":
        return None
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        # The first one that is set decides.
        named = next(
            (each for each in _CERTIFICATES if os.environ.get(each)), "those of the system"
        )
        raise UnusableEnvironmentError(
            f"the certificates cannot be loaded ({error.strerror or error}): check {named}"
        ) from None


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown: without user name, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
