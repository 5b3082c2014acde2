"""The secret, the token and the keys of the scenarios about access."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

if TYPE_CHECKING:
    from pathlib import Path

KEY_FILE: Final = "secret"
_A_DAY_S: Final = 86400


def write_secret(directory: Path) -> None:
    """Write a new secret with which a service verifies tokens."""
    (directory / KEY_FILE).write_text(secrets.token_hex())


def foreign_token() -> str:
    """Return a token that is signed with a secret which no service has."""
    claims = {"sub": "drill", "exp": int(time.time()) + _A_DAY_S, "riptide": {"publish": ["*"]}}
    return jwt.encode(claims, secrets.token_hex(), "HS256")


def public_keys() -> bytes:
    """Return a JWK set with one public key, as an issuer publishes it."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return json.dumps({"keys": [ECAlgorithm.to_jwk(key, as_dict=True)]}).encode()
