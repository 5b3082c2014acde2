from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from riptide.access.keys import Key, parse_jwk_set, secret_key
from tests.issuer import ALGORITHMS, ASYMMETRIC, SECRET, Issuer, jwk_set


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_verifies_what_its_issuer_signed(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    (key,) = parse_jwk_set(jwk_set(issuer), with_secrets=True)
    assert (key.id, key.algorithm) == ("key-1", algorithm)
    assert jwt.decode(issuer.token(), key.material, [key.algorithm])["sub"] == "somebody"


def test_secrets_are_taken_only_from_where_they_can_be_kept() -> None:
    with pytest.raises(ValueError, match="no key"):
        parse_jwk_set(jwk_set(Issuer("HS256")), with_secrets=False)


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"kty": "EC"},
        {"kty": "oct"},
        {"kty": ["RSA"]},
        {"n": "AA"},
        {"n": 7},
    ],
)
def test_a_key_for_something_else_is_passed_over(members: dict[str, Any]) -> None:
    other = Issuer("ES256", "other")
    keys = {"keys": [Issuer("RS256").jwk(**members), other.jwk(), "no key", {}]}
    assert [key.id for key in parse_jwk_set(json.dumps(keys).encode(), with_secrets=True)] == [
        "other"
    ]


def test_weak_keys_are_passed_over() -> None:
    short = 1024
    small = rsa.generate_private_key(public_exponent=65537, key_size=short).public_key()
    curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    keys = [
        json.loads(RSAAlgorithm.to_jwk(small)),
        json.loads(ECAlgorithm.to_jwk(curve)),
        {"kty": "oct", "k": "c2hvcnQ"},
    ]
    for key in keys:
        key.pop("key_ops", None)
    with pytest.raises(ValueError, match="no key"):
        parse_jwk_set(json.dumps({"keys": keys}).encode(), with_secrets=True)


@pytest.mark.parametrize("algorithm", list(ASYMMETRIC))
def test_of_a_private_key_only_the_public_half_is_kept(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    text = jwt.get_algorithm_by_name(algorithm).to_jwk(issuer.key)
    private = {**json.loads(text), "kid": "key-1"}
    private.pop("key_ops", None)
    (key,) = parse_jwk_set(json.dumps({"keys": [private]}).encode(), with_secrets=True)
    assert not hasattr(key.material, "private_bytes")
    assert jwt.decode(issuer.token(), key.material, [algorithm])


@pytest.mark.parametrize("text", [b"", b"[]", b'{"keys": {}}', b'{"keys": []}', b"\xff"])
def test_what_is_no_jwk_set_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_jwk_set(text, with_secrets=True)


def test_the_line_break_at_the_end_of_a_file_is_not_of_the_secret() -> None:
    assert secret_key(SECRET + b"\n") == Key(None, "HS256", SECRET)


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (b"", "at least 32"),
        (b"x" * 31 + b"\n", "at least 32"),
        (b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ", "another kind"),
    ],
)
def test_a_secret_that_could_be_guessed_or_is_public_is_refused(secret: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        secret_key(secret)
