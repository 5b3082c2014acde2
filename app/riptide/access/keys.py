"""The keys with which tokens are verified, each bound to one algorithm."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import orjson
from jwt import PyJWK
from jwt.exceptions import PyJWTError

logger = logging.getLogger("riptide.access")

# RFC 7518, section 3.2: a key of HS256 is at least as long as the hash.
MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2048
HS256 = "HS256"
# The algorithm follows from the kind of key, never from the token. So a public key is never used
# as a secret, and the algorithm "none" is never accepted.
ALGORITHMS = {
    ("oct", None): HS256,
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


class Key(NamedTuple):
    """A key that verifies tokens; ``id`` is its ``kid``, by which tokens name it, if it has one."""

    id: str | None
    algorithm: str
    material: Any


def secret_key(secret: bytes) -> Key:
    """Return the key of a secret, without the white space around it.

    Raises:
        ValueError: the secret is too short, or is a key of another kind.

    """
    secret = secret.strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret has to have at least {MIN_SECRET_BYTES} bytes")
    if secret.startswith((b"-----BEGIN", b"ssh-")):
        raise ValueError("this is a key of another kind: give public keys as a JWK set")
    return Key(None, HS256, secret)


def parse_jwk_set(text: bytes, *, with_secrets: bool) -> list[Key]:
    """Read a JWK set (RFC 7517); keys that cannot verify our tokens are left out.

    ``with_secrets`` accepts symmetric keys, which no web server should publish.

    Raises:
        ValueError: the text is no JWK set, or has no key that can be used.

    """
    document = orjson.loads(text)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError('a JWK set is an object with a list of "keys"')  # noqa: TRY004  # as the docstring says
    keys = [key for entry in entries if (key := _parse_jwk(entry)) is not None]
    if not with_secrets:
        keys = [key for key in keys if key.algorithm != HS256]
    if not keys:
        raise ValueError(
            "the JWK set has no key of RSA (2048 bits or more), P-256 or Ed25519 to verify with"
        )
    return keys


def _parse_jwk(entry: Any) -> Key | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kind = str(entry.get("kty"))
    curve = str(entry.get("crv")) if kind in {"EC", "OKP"} else None
    algorithm = ALGORITHMS.get((kind, curve))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    try:
        material = PyJWK(entry, algorithm).key
    except (PyJWTError, ValueError, TypeError, KeyError) as error:
        logger.warning("passing over a key that cannot be read: %s", type(error).__name__)
        return None
    if kind == "oct" and len(material) < MIN_SECRET_BYTES:
        return None
    if kind == "RSA" and material.key_size < MIN_RSA_BITS:
        return None
    identifier = entry.get("kid")
    # Verifying needs the public half only, so the private half of a key is not kept.
    public = getattr(material, "public_key", None)
    return Key(
        identifier if isinstance(identifier, str) else None,
        algorithm,
        material if public is None else public(),
    )
