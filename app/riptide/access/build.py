"""Builds the access control that the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.access.credentials import TokenPlaces
from riptide.access.exposure import has_access_control
from riptide.access.gate import Gate
from riptide.access.hosts import ANY, Hosts
from riptide.access.origins import Origins
from riptide.errors import InvalidSettingsError
from riptide.process.http_environment import proxy_of

if TYPE_CHECKING:
    from riptide.access.tokens import TokenVerifier
    from riptide.settings.settings import Settings
    from riptide_telemetry import Lifecycle


def make_gate(settings: Settings, lifecycle: Lifecycle) -> Gate:
    """Return the gate, which requires tokens if any key source is configured.

    Raises:
        InvalidSettingsError: the keys are behind a proxy that cannot be used.

    """
    return Gate(
        _make_verifier(settings, lifecycle) if has_access_control(settings) else None,
        TokenPlaces(settings.token_cookie, settings.token_in_query),
        _make_hosts(settings),
        Origins(settings.allowed_origins),
        lifecycle,
    )


def _make_hosts(settings: Settings) -> Hosts:
    """Return the host names that are answered: any, unless only loopback protects the service."""
    is_local_only = not (
        has_access_control(settings) or settings.allow_anonymous or settings.trusted_proxies
    )
    if not settings.allowed_hosts and not is_local_only:
        return Hosts([ANY])
    return Hosts(settings.allowed_hosts)


def _make_verifier(settings: Settings, lifecycle: Lifecycle) -> TokenVerifier:
    # Imported here, so that a service that requires no tokens does not load the cryptography.
    from riptide.access.keyring import Keyring  # noqa: PLC0415  # as above
    from riptide.access.sources import JwksFile, JwksUrl, KeySource, SecretFile  # noqa: PLC0415  # as above
    from riptide.access.tokens import TokenVerifier  # noqa: PLC0415  # as above

    sources: list[KeySource] = []
    if settings.token_secret_file is not None:
        sources.append(SecretFile(settings.token_secret_file))
    if settings.jwks_file is not None:
        sources.append(JwksFile(settings.jwks_file))
    if settings.jwks_url is not None:
        _check_proxy(settings.jwks_url)
        sources.append(JwksUrl(settings.jwks_url))
    return TokenVerifier(
        Keyring(sources, settings.keys_refresh_seconds, lifecycle=lifecycle),
        audience=settings.token_audience,
        issuer=settings.token_issuer,
        leeway_s=settings.token_leeway_seconds,
    )


def _check_proxy(jwks_url: str) -> None:
    try:
        proxy_of(jwks_url)
    except ValueError as error:
        raise InvalidSettingsError(f"RIPTIDE_JWKS_URL cannot be fetched: {error}") from None
