"""How to reach the cluster, and what its stream is to be like."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from riptide.settings.settings import Settings


@dataclass(frozen=True)
class JetStreamOptions:
    """``urls`` are of servers of one cluster. At most one way to authenticate is given."""

    urls: Sequence[str] = ("nats://127.0.0.1:4222",)
    stream: str = "riptide"
    # Of the stream, when it is created.
    replicas: int = 3
    credentials_file: Path | None = None
    nkey_file: Path | None = None
    token_file: Path | None = None
    user: str = ""
    password_file: Path | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    domain: str = ""
    append_timeout_s: float = 15.0
    # In log records, and for people who look at the servers' connections.
    instance: str = "riptide"

    def named_urls(self) -> str:
        """Return the servers for people, without the passwords that urls may have."""
        return ", ".join(url.rpartition("@")[2].rpartition("//")[2] for url in self.urls)


def options_of(settings: Settings) -> JetStreamOptions:
    """Return what the settings say of the cluster."""
    return JetStreamOptions(
        settings.jetstream_urls,
        settings.jetstream_stream,
        replicas=settings.jetstream_replicas,
        credentials_file=settings.jetstream_credentials_file,
        nkey_file=settings.jetstream_nkey_file,
        token_file=settings.jetstream_token_file,
        user=settings.jetstream_user or "",
        password_file=settings.jetstream_password_file,
        tls_ca=settings.jetstream_tls_ca,
        tls_certificate=settings.jetstream_tls_certificate,
        tls_key=settings.jetstream_tls_key,
        domain=settings.jetstream_domain or "",
        append_timeout_s=settings.append_timeout_seconds,
        instance=settings.instance or socket.gethostname(),
    )
