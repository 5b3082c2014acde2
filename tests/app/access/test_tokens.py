from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riptide.access import tokens
from riptide.access.grants import Action
from riptide.access.keyring import Keyring
from riptide.access.keys import Key, parse_jwk_set, secret_key
from riptide.access.tokens import MAX_LENGTH, TokenVerifier
from riptide.errors import UnauthenticatedError
from riptide_telemetry import TokenOutcome
from tests.issuer import ALGORITHMS, ASYMMETRIC, SECRET, Issuer, jwk_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo


class Fixed:
    """A source that never changes."""

    name = "fixed"
    remote = False

    def __init__(self, keys: list[Key]) -> None:
        self.keys = keys

    async def read(self) -> list[Key]:
        return self.keys


async def _verifier(*issuers: Issuer, **options: Any) -> TokenVerifier:
    keyring = Keyring([Fixed(parse_jwk_set(jwk_set(*issuers), with_secrets=True))], 60)
    await keyring.open()
    return TokenVerifier(keyring, **{"audience": None, "issuer": None, "leeway_s": 0.0, **options})


def _segment(data: Any) -> str:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_tells_who_its_bearer_is_and_what_they_may_do(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    verifier = await _verifier(issuer)
    expires = int(time.time()) + 30
    identity = await verifier.verify(issuer.token({"publish": ["in.*"]}, sub="ada", exp=expires))
    assert (identity.subject, identity.expires_at) == ("ada", expires)
    assert identity.grants.allow(Action.PUBLISH, "in.a")
    assert not identity.grants.allow(Action.SUBSCRIBE, "in.a")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_another_key_is_refused_whatever_it_calls_its_key(algorithm: str) -> None:
    issuer, other = Issuer(algorithm), Issuer(algorithm)
    other.key = b"another secret, of 32 bytes or more" if algorithm == "HS256" else other.key
    verifier = await _verifier(issuer)
    with pytest.raises(UnauthenticatedError, match="not of a key that is trusted"):
        await verifier.verify(other.token())
    other.key_id = None
    with pytest.raises(UnauthenticatedError, match="not of a key that is trusted"):
        await verifier.verify(other.token())
    other.key_id = "key-2"
    with pytest.raises(UnauthenticatedError, match="not known here"):
        await verifier.verify(other.token())


async def test_without_a_key_id_every_key_of_the_algorithm_is_tried() -> None:
    first, second = Issuer("ES256", "first"), Issuer("ES256", "second")
    verifier = await _verifier(first, second)
    second.key_id = None
    assert (await verifier.verify(second.token())).subject == "somebody"


@pytest.mark.parametrize("algorithm", list(ASYMMETRIC))
@pytest.mark.parametrize("key_id", ["key-1", None])
async def test_a_public_key_is_never_taken_for_a_secret(algorithm: str, key_id: str | None) -> None:
    issuer = Issuer(algorithm)
    verifier = await _verifier(issuer, Issuer("HS256", "secret"))
    public = issuer.key.public_key()
    header = {"alg": "HS256", "typ": "JWT"} | ({} if key_id is None else {"kid": key_id})
    claims = {"exp": int(time.time()) + 60, "riptide": {"publish": ["*"]}}
    signed = f"{_segment(header)}.{_segment(claims)}"
    formats = [(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)]
    formats += [(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)]
    for encoding, form in formats:
        secret = public.public_bytes(encoding, form)
        signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(f"{signed}.{_segment(signature)}")


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "nOnE", "", "HS512", "RS512", None, 7, ["HS256"]]
)
async def test_an_algorithm_that_is_not_ours_is_refused(algorithm: Any) -> None:
    verifier = await _verifier(Issuer("HS256"))
    header = _segment({"alg": algorithm, "typ": "JWT"})
    payload = _segment({"exp": int(time.time()) + 60})
    for signature in ("", _segment(b"x" * 32)):
        with pytest.raises(UnauthenticatedError, match="signed by HS256, RS256, ES256, EdDSA"):
            await verifier.verify(f"{header}.{payload}.{signature}")


@pytest.mark.parametrize(
    ("claims", "why", "outcome"),
    [
        ({"exp": lambda: time.time() - 5}, "expired", TokenOutcome.EXPIRED),
        ({"exp": None}, "no claim 'exp'", TokenOutcome.BAD_CLAIM),
        ({"exp": "soon"}, "malformed", TokenOutcome.MALFORMED),
        ({"exp": 1e999}, "malformed", TokenOutcome.MALFORMED),
        ({"nbf": lambda: time.time() + 60}, "not valid yet", TokenOutcome.NOT_YET_VALID),
        ({"iat": lambda: time.time() + 60}, "not valid yet", TokenOutcome.NOT_YET_VALID),
        ({"aud": "another service"}, "another audience", TokenOutcome.WRONG_AUDIENCE),
        ({"sub": 7}, "malformed", TokenOutcome.MALFORMED),
        ({"riptide": ["*"]}, "claim 'riptide' is not an object", TokenOutcome.BAD_CLAIM),
    ],
)
async def test_a_token_whose_claims_do_not_hold_is_told_why(
    claims: dict[str, Any], why: str, outcome: TokenOutcome
) -> None:
    issuer = Issuer()
    verifier = await _verifier(issuer)
    made = {name: value() if callable(value) else value for name, value in claims.items()}
    with pytest.raises(UnauthenticatedError, match=why) as caught:
        await verifier.verify(issuer.token(**made))
    assert 'error="invalid_token"' in caught.value.headers()["WWW-Authenticate"]
    assert caught.value.token_outcome is outcome


async def test_every_refusal_of_a_token_has_an_outcome_to_be_counted_by() -> None:
    issuer, other = Issuer("ES256"), Issuer("ES256")
    verifier = await _verifier(issuer, issuer="https://id.example")
    unknown = Issuer("ES256", "key-2")
    for token, outcome in {
        "x" * (MAX_LENGTH + 1): TokenOutcome.MALFORMED,
        "no token": TokenOutcome.MALFORMED,
        f"{_segment({'alg': 'none'})}.{_segment({})}.": TokenOutcome.UNKNOWN_ALGORITHM,
        unknown.token(): TokenOutcome.UNKNOWN_KEY,
        other.token(): TokenOutcome.BAD_SIGNATURE,
        issuer.token(iss="https://evil.example"): TokenOutcome.WRONG_ISSUER,
    }.items():
        with pytest.raises(UnauthenticatedError) as caught:
            await verifier.verify(token)
        assert caught.value.token_outcome is outcome


async def test_audience_and_issuer_are_checked_where_they_are_set() -> None:
    issuer = Issuer()
    verifier = await _verifier(issuer, audience="riptide", issuer="https://id.example")
    held: dict[str, Any] = {"aud": ["x", "riptide"], "iss": "https://id.example"}
    assert await verifier.verify(issuer.token(**held))
    refused: list[tuple[dict[str, Any], str]] = [
        ({"aud": "x"}, "another audience"),
        ({"aud": None}, "no claim 'aud'"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": None}, "no claim 'iss'"),
    ]
    for wrong, why in refused:
        with pytest.raises(UnauthenticatedError, match=why):
            await verifier.verify(issuer.token(**{**held, **wrong}))


async def test_clocks_may_be_off_a_little_and_the_end_moves_with_them() -> None:
    issuer = Issuer()
    verifier = await _verifier(issuer, leeway_s=30)
    expired = int(time.time()) - 10
    identity = await verifier.verify(issuer.token(exp=expired, nbf=int(time.time()) + 10))
    assert identity.expires_at == expired + 30
    with pytest.raises(UnauthenticatedError, match="expired"):
        await verifier.verify(issuer.token(exp=expired - 30))


class Clock:
    """Stands in for the modules ``time`` and ``datetime`` where a token is verified."""

    def __init__(self, now: int) -> None:
        self._now = now

    def time(self) -> float:
        return self._now

    def now(self, tz: tzinfo) -> datetime:
        return datetime.fromtimestamp(self._now, tz)


async def test_a_token_that_was_verified_holds_until_it_expires_or_the_keys_are_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = Issuer()
    source = Fixed([secret_key(SECRET)])
    keyring = Keyring([source], 60, min_pause_s=0)
    await keyring.open()
    verifier = TokenVerifier(keyring, audience=None, issuer=None, leeway_s=0)
    token = issuer.token()
    first = await verifier.verify(token)
    assert await verifier.verify(token) is first
    # Another token of the same bearer is another token.
    assert await verifier.verify(issuer.token({"publish": ["a"]})) is not first
    expires = int(time.time()) + 3600
    short = issuer.token(exp=expires)
    assert await verifier.verify(short)
    with monkeypatch.context() as later:
        later.setattr(tokens, "time", Clock(expires))
        later.setattr(jwt.api_jwt, "datetime", Clock(expires))
        with pytest.raises(UnauthenticatedError, match="expired"):
            await verifier.verify(short)
    source.keys = [secret_key(b"another secret, of 32 bytes or more")]
    await keyring.find("ES256", "unknown")
    with pytest.raises(UnauthenticatedError, match="not of a key"):
        await verifier.verify(token)


async def test_only_so_many_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "REMEMBERED", 3)
    issuer = Issuer()
    verifier = await _verifier(issuer)
    for number in range(10):
        await verifier.verify(issuer.token(sub=f"bearer {number}"))
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(f"{number}.b.c")
    assert len(verifier._verified) == 3


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "é.é.é", "x" * 100, "x" * (MAX_LENGTH + 1), "\x00", "e30.e30.e30"],
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    verifier = await _verifier(Issuer())
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(token)


@pytest.mark.parametrize(
    "mangle",
    [
        lambda header, payload, _: f"{header}.{payload}.",
        lambda header, payload, signature: f"{header}.{payload}.{signature[:-4]}AAAA",
        lambda header, _, signature: f"{header}.{_segment({'exp': 9e9})}.{signature}",
        lambda header, payload, signature: f"{header}.{payload}.{signature}.{signature}",
        lambda _, payload, signature: (
            f"{_segment({'alg': 'HS256', 'crit': ['x'], 'x': 1})}.{payload}.{signature}"
        ),
        lambda _, payload, signature: (
            f"{_segment({'alg': 'HS256', 'b64': False, 'crit': ['b64']})}.{payload}.{signature}"
        ),
        lambda _, payload, signature: (
            f"{_segment({'alg': 'HS256', 'kid': 7})}.{payload}.{signature}"
        ),
        lambda _, payload, signature: f"{_segment(b'[' * 3000)}.{payload}.{signature}",
    ],
)
async def test_a_token_that_was_tampered_with_is_refused(mangle: Callable[..., str]) -> None:
    issuer = Issuer()
    verifier = await _verifier(issuer)
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(mangle(*issuer.token().split(".")))


async def test_the_claims_of_a_trusted_issuer_may_still_be_nonsense() -> None:
    issuer = Issuer()
    verifier = await _verifier(issuer)
    signed = issuer.sign({"exp": int(time.time()) + 60, "x": 1}).split(".")
    deep = f"{signed[0]}.{_segment(b'{' * 3000)}"
    signature = hmac.new(SECRET, deep.encode(), hashlib.sha256).digest()
    with pytest.raises(UnauthenticatedError, match="malformed"):
        await verifier.verify(f"{deep}.{_segment(signature)}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), json_values),
    claims=st.dictionaries(
        st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub", "jti", "riptide"]), json_values
    ),
    signed=st.booleans(),
)
async def test_no_token_makes_the_verifier_fail(
    header: dict[str, Any], claims: dict[str, Any], *, signed: bool
) -> None:
    keyring = Keyring([Fixed([secret_key(SECRET)])], 60)
    await keyring.open()
    verifier = TokenVerifier(keyring, audience=None, issuer=None, leeway_s=0)
    if signed:
        header["alg"] = "HS256"
    text = f"{_segment(header)}.{_segment(claims)}"
    signature = hmac.new(SECRET, text.encode(), hashlib.sha256).digest()
    try:
        identity = await verifier.verify(f"{text}.{_segment(signature)}")
    except UnauthenticatedError:
        return
    assert signed
    assert identity.expires_at > time.time()
