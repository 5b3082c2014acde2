"""The certificate and key of TLS, read again when they are renewed."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from dataclasses import dataclass
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

    def expires_at(self) -> float:
        """Return the Unix time at which the first certificate of the file expires.

        Raises:
            OSError: the file cannot be read.
            ValueError: it has no certificate, or one that cannot be read.

        """
        # Imported here, so that a service without TLS and tokens does not load the cryptography.
        from cryptography import x509  # noqa: PLC0415  # as above

        try:
            chain = x509.load_pem_x509_certificates(self.certificate.read_bytes())
        except ValueError:
            raise ValueError("it holds no certificate that can be read") from None
        return min(certificate.not_valid_after_utc.timestamp() for certificate in chain)

    def load_into(self, *contexts: ssl.SSLContext) -> None:
        """Load the files into the contexts, for new connections, or change nothing.

        Raises:
            OSError: a file cannot be read, or certificate and key do not belong together.

        """
        # A new context is loaded first, because one that fails would be left half loaded.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *contexts):
            # Without this argument, OpenSSL asks for an encrypted key's password at a terminal.
            context.load_cert_chain(self.certificate, self.key, password="")


@dataclass(slots=True)
class CertificateState:
    """What metrics show of the certificate that is served.

    ``expires_at`` is a Unix time. ``refused`` says that a renewed certificate cannot be served.
    """

    expires_at: float
    refused: bool = False

    def describe(self) -> str:
        """Return the state in a few words, for the readiness check."""
        left_s = self.expires_at - time.time()
        if left_s <= 0:
            return f"expired {-left_s:.0f} s ago: renew it"
        renewal = "; the renewed one cannot be served" if self.refused else ""
        return f"ok: expires in {left_s / 86_400:.1f} days{renewal}"

    @classmethod
    def at_the_start(cls, tls: Tls) -> CertificateState:
        """Return the state of the certificate with which the service starts.

        Raises:
            KeyFileError: the certificate cannot be read.

        """
        try:
            return cls(tls.expires_at())
        except (OSError, ValueError) as error:
            raise KeyFileError(
                f"cannot tell when the certificate {tls.certificate} expires ({error}): "
                "check RIPTIDE_TLS_CERTIFICATE"
            ) from None


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


async def follow_renewals(
    tls: Tls, contexts: Sequence[ssl.SSLContext], state: CertificateState | None = None
) -> None:
    """Load renewed files until cancelled. Open connections keep the certificate that they have.

    ``state`` is kept up to date.
    """
    state = state or CertificateState(0)
    known = tls.version()
    while True:
        await asyncio.sleep(CHECK_INTERVAL_S)
        found = tls.version()
        changed, known = found != known, found
        # What is refused is tried again: a file may become readable without another change. If the
        # second file is not written yet, its writing is a change of its own.
        if not changed and not state.refused:
            continue
        try:
            expires_at = tls.expires_at()
            tls.load_into(*contexts)
        except (OSError, ValueError) as error:
            state.refused = True
            if changed:
                logger.warning(
                    "the renewed certificate %s cannot be served (%s): the one before it still is",
                    tls.certificate,
                    getattr(error, "strerror", None) or error,
                )
        else:
            state.expires_at, state.refused = expires_at, False
            logger.info("serving the renewed certificate %s", tls.certificate)
