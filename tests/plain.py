"""Plain HTTP for tests: an httpx2 client loads the authorities of TLS, 50 ms each time."""

from __future__ import annotations

import ssl

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""To be given as ``verify``: a context that trusts nobody, since nobody here speaks TLS."""
