"""The certificate and key of TLS, read again when they are renewed."""

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
    """The PEM files of a certificate and its key. ``key`` is None if one file has both."""

    certificate: Path
    key: Path | None

    def version(self) -> list[tuple[int, int, int] | None]:
        """Return a value that changes when a file changes, appears or goes; links are followed."""
        return [_version(file) for file in (self.certificate, self.key) if file is not None]

    def load_into(self, *contexts: ssl.SSLContext) -> None:
        """Load the files into the contexts, for new connections, or change nothing.

        Raises:
            OSError: a file cannot be read, or certificate and key do not belong together.

        """
        # A new context is loaded first, because one that fails would be left half loaded.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *contexts):
            # Without this argument, OpenSSL asks for an encrypted key's password at a terminal.
            context.load_cert_chain(self.certificate, self.key, password="")


def _version(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def tls_of(settings: Settings) -> Tls | None:
    """Return the certificate and key to serve TLS with, or None to serve without TLS.

    Raises:
        KeyFileError: there is a key without a certificate.

    """
    if settings.tls_certificate is not None:
        return Tls(settings.tls_certificate, settings.tls_key)
    if settings.tls_key is not None:
        raise KeyFileError("RIPTIDE_TLS_KEY is of no use without RIPTIDE_TLS_CERTIFICATE: set both")
    return None


async def follow_renewals(tls: Tls, contexts: Sequence[ssl.SSLContext]) -> None:
    """Load renewed files until cancelled. Open connections keep the certificate that they have."""
    known = tls.version()
    while True:
        await asyncio.sleep(CHECK_INTERVAL_S)
        found = tls.version()
        if found == known:
            continue
        # Each change is tried once. If the second file is not written yet, its writing is another
        # change.
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
