"""Refuses to serve a network without access control, unless the settings allow it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from riptide.errors import ExposedError, InvalidSettingsError

if TYPE_CHECKING:
    from riptide.settings.settings import Settings


def has_access_control(settings: Settings) -> bool:
    """Return whether requests need a token, because a source of keys is configured."""
    return any((settings.token_secret_file, settings.jwks_file, settings.jwks_url))


def check_exposure(settings: Settings, address: str) -> None:
    """Check that the settings allow the service to listen on an IP address.

    Raises:
        ExposedError: the address is not loopback, and anybody could use the service.
        InvalidSettingsError: the settings both allow anybody and require a token.

    """
    if has_access_control(settings):
        if settings.allow_anonymous:
            raise InvalidSettingsError(
                "RIPTIDE_ALLOW_ANONYMOUS is set, and so is where the keys of tokens are: "
                "leave out one of the two"
            )
        return
    # A link-local IPv6 address ends in its interface, as in fe80::1%eth0.
    if settings.allow_anonymous or ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return
    raise ExposedError(
        f"anybody who can reach {address} could read and publish every message: set "
        "RIPTIDE_TOKEN_SECRET_FILE, RIPTIDE_JWKS_FILE or RIPTIDE_JWKS_URL to ask for tokens, "
        "or RIPTIDE_ALLOW_ANONYMOUS=true if that is meant"
    )
