"""An issuer of tokens: signs them as an identity provider does, and publishes its keys."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

if TYPE_CHECKING:
    from collections.abc import Callable

ASYMMETRIC: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
ALGORITHMS = ("HS256", *ASYMMETRIC)
ALL = {"publish": ["*"], "subscribe": ["*"]}
SECRET = b"a secret of at least thirty-two bytes"


class Issuer:
    """One key; a secret if the algorithm is HS256."""

    def __init__(self, algorithm: str = "HS256", key_id: str | None = "key-1") -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        self.key: Any = SECRET if algorithm == "HS256" else ASYMMETRIC[algorithm]()

    def token(self, grants: Any = ALL, *, lasts_s: float = 3600, **claims: Any) -> str:
        """Return a token; claims that are None are left out."""
        given = {"sub": "somebody", "exp": int(time.time() + lasts_s), "riptide": grants, **claims}
        return self.sign({name: value for name, value in given.items() if value is not None})

    def sign(self, claims: dict[str, Any]) -> str:
        headers = {} if self.key_id is None else {"kid": self.key_id}
        return jwt.encode(claims, self.key, self.algorithm, headers)

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return the key that verifies, as an issuer publishes it."""
        public = self.key if self.algorithm == "HS256" else self.key.public_key()
        text = get_default_algorithms()[self.algorithm].to_jwk(public)
        key: dict[str, Any] = json.loads(text)
        key.pop("key_ops", None)
        return {**key, "kid": self.key_id, "use": "sig", "alg": self.algorithm, **members}


def jwk_set(*issuers: Issuer) -> bytes:
    """Return the keys of issuers as a JWK set."""
    return json.dumps({"keys": [issuer.jwk() for issuer in issuers]}).encode()


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
