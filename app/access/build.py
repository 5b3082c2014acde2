"""Access control as the settings want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.access.exposure import has_access_control
from app.access.gate import Gate
from app.access.keyring import Keyring
from app.access.origins import Origins
from app.access.sources import JwksFile, JwksUrl, SecretFile
from app.access.tokens import TokenVerifier

if TYPE_CHECKING:
    from app.access.sources import KeySource
    from app.settings import Settings
    from telemetry import Lifecycle


def make_gate(settings: Settings, lifecycle: Lifecycle) -> Gate:
    """Return the gate, which asks for tokens if there is where to have their keys from."""
    verifier = None
    if has_access_control(settings):
        verifier = TokenVerifier(
            Keyring(_sources(settings), settings.keys_refresh_seconds),
            audience=settings.token_audience,
            issuer=settings.token_issuer,
            leeway_s=settings.token_leeway_seconds,
        )
    return Gate(
        verifier,
        Origins(settings.allowed_origins),
        lifecycle,
        cookie=settings.token_cookie,
        in_query=settings.token_in_query,
    )


def _sources(settings: Settings) -> list[KeySource]:
    sources: list[KeySource] = []
    if settings.token_secret_file is not None:
        sources.append(SecretFile(settings.token_secret_file))
    if settings.jwks_file is not None:
        sources.append(JwksFile(settings.jwks_file))
    if settings.jwks_url is not None:
        sources.append(JwksUrl(settings.jwks_url))
    return sources
