"""Access control as the settings want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.access.exposure import has_access_control
from riptide.access.gate import Gate
from riptide.access.hosts import ANY, Hosts
from riptide.access.origins import Origins

if TYPE_CHECKING:
    from riptide.access.tokens import TokenVerifier
    from riptide.settings.settings import Settings
    from riptide_telemetry import Lifecycle


def make_gate(settings: Settings, lifecycle: Lifecycle) -> Gate:
    """Return the gate, which asks for tokens if there is where to have their keys from."""
    return Gate(
        _make_verifier(settings) if has_access_control(settings) else None,
        _make_hosts(settings),
        Origins(settings.allowed_origins),
        lifecycle,
        cookie=settings.token_cookie,
        in_query=settings.token_in_query,
    )


def _make_hosts(settings: Settings) -> Hosts:
    """Return the names that we go by: any, where tokens or proxies see to who gets here."""
    open_to_all = has_access_control(settings) or settings.allow_anonymous
    if not settings.allowed_hosts and (open_to_all or settings.trusted_proxies):
        return Hosts([ANY])
    return Hosts(settings.allowed_hosts)


def _make_verifier(settings: Settings) -> TokenVerifier:
    # Here, because a service that asks for no tokens need not load the cryptography.
    from riptide.access.keyring import Keyring  # noqa: PLC0415  # as above
    from riptide.access.sources import JwksFile, JwksUrl, KeySource, SecretFile  # noqa: PLC0415  # as above
    from riptide.access.tokens import TokenVerifier  # noqa: PLC0415  # as above

    sources: list[KeySource] = []
    if settings.token_secret_file is not None:
        sources.append(SecretFile(settings.token_secret_file))
    if settings.jwks_file is not None:
        sources.append(JwksFile(settings.jwks_file))
    if settings.jwks_url is not None:
        sources.append(JwksUrl(settings.jwks_url))
    return TokenVerifier(
        Keyring(sources, settings.keys_refresh_seconds),
        audience=settings.token_audience,
        issuer=settings.token_issuer,
        leeway_s=settings.token_leeway_seconds,
    )
