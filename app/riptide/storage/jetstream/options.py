"""How to reach the cluster, and what its stream is to be like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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
