"""TLS: what it is served with, read again when it is renewed."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, NamedTuple

from riptide.errors import KeyFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from riptide.settings.settings import Settings

logger = logging.getLogger("riptide.tls")

CHECK_INTERVAL_S = 60.0


class Tls(NamedTuple):
    """What to serve TLS with; the key may stand in the certificate's file. PEM both."""

    certificate: Path
    key: Path | None

    def version(self) -> list[tuple[int, int, int] | None]:
        """Return what changes when a file does, comes or goes; links are followed."""
        return [_version(file) for file in (self.certificate, self.key) if file is not None]

    def load_into(self, *contexts: ssl.SSLContext) -> None:
        """Have the connections that come from now on served with it, or change nothing.

        Raises:
            OSError: a file cannot be read, or the two do not belong together.

        """
        # A context that one of the two fails in would have half of them.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *contexts):
            # Without a password, that of an encrypted key would be asked for at a terminal.
            context.load_cert_chain(self.certificate, self.key, password="")


def _version(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def tls_of(settings: Settings) -> Tls | None:
    """Return what to serve TLS with, if that is wanted.

    Raises:
        KeyFileError: there is a key without a certificate.

    """
    if settings.tls_certificate is not None:
        return Tls(settings.tls_certificate, settings.tls_key)
    if settings.tls_key is not None:
        raise KeyFileError("RIPTIDE_TLS_KEY is of no use without RIPTIDE_TLS_CERTIFICATE: set both")
    return None


async def follow_renewals(tls: Tls, contexts: Sequence[ssl.SSLContext]) -> None:
    """Serve what is renewed, until cancelled; streams that are open stay with what they have."""
    known = tls.version()
    while True:
        await asyncio.sleep(CHECK_INTERVAL_S)
        found = tls.version()
        if found == known:
            continue
        # Tried once for each change: the second file may not be written yet.
        known = found
        try:
            tls.load_into(*contexts)
        except OSError as error:
            logger.warning(
                "the renewed certificate %s cannot be served (%s): the one before it still is",
                tls.certificate,
                error.strerror or error,
            )
        else:
            logger.info("serving the renewed certificate %s", tls.certificate)
