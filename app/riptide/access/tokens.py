"""Tokens: JSON Web Tokens (RFC 7519), verified by the best current practices (RFC 8725)."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import jwt

from riptide.access.grants import CLAIM, parse_grants
from riptide.access.identity import ANYONE, Identity
from riptide.access.keys import ALGORITHMS
from riptide.errors import UnauthenticatedError
from riptide_telemetry import TokenOutcome

if TYPE_CHECKING:
    from riptide.access.keyring import Keyring

MAX_LENGTH = 8192
# How many verified tokens are remembered. Verifying one takes a good part of a publish's time, and
# a publisher sends the same token each time.
REMEMBERED = 1024
INVALID = "invalid_token"
REFUSALS: dict[type[Exception], tuple[TokenOutcome, str]] = {
    jwt.ExpiredSignatureError: (TokenOutcome.EXPIRED, "it has expired: get a new one"),
    jwt.ImmatureSignatureError: (
        TokenOutcome.NOT_YET_VALID,
        "it is not valid yet: check the clocks",
    ),
    jwt.InvalidAudienceError: (
        TokenOutcome.WRONG_AUDIENCE,
        "it is meant for another audience, see RIPTIDE_TOKEN_AUDIENCE",
    ),
    jwt.InvalidIssuerError: (
        TokenOutcome.WRONG_ISSUER,
        "it comes from another issuer, see RIPTIDE_TOKEN_ISSUER",
    ),
}


class TokenVerifier:
    """Verifies a token, and returns who its bearer is and what the bearer may do."""

    def __init__(
        self, keyring: Keyring, *, audience: str | None, issuer: str | None, leeway_s: float
    ) -> None:
        self.keyring = keyring
        self._audience = audience
        self._issuer = issuer
        self._leeway_s = leeway_s
        self._jwt = jwt.PyJWT()
        # By the token's hash, oldest verification first: the keyring's number of readings at that
        # time, and the bearer.
        self._verified: dict[bytes, tuple[int, Identity]] = {}

    async def verify(self, token: str) -> Identity:
        """Return the bearer's identity.

        Raises:
            UnauthenticatedError: the token is not valid; the text says why.
            KeysUnavailableError: there are no keys yet to verify the token with.

        """
        if len(token) > MAX_LENGTH:
            raise _invalid(TokenOutcome.MALFORMED, f"it is longer than {MAX_LENGTH} characters")
        digest = hashlib.sha256(token.encode()).digest()
        reading, identity = self._verified.get(digest, (-1, ANYONE))
        if reading == self.keyring.readings and time.time() < identity.expires_at:
            return identity
        identity = await self._verify(token)
        self._verified.pop(digest, None)
        self._verified[digest] = self.keyring.readings, identity
        if len(self._verified) > REMEMBERED:
            del self._verified[next(iter(self._verified))]
        return identity

    async def _verify(self, token: str) -> Identity:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise _invalid(TokenOutcome.MALFORMED, "it is not a JSON Web Token") from None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS.values():
            raise _invalid(
                TokenOutcome.UNKNOWN_ALGORITHM,
                f"it has to be signed by {', '.join(ALGORITHMS.values())}",
            )
        keys = await self.keyring.find(algorithm, key_id)
        if not keys:
            raise _invalid(TokenOutcome.UNKNOWN_KEY, "it is signed by a key that is not known here")
        for key in keys:
            # Several keys may have no id, so each is tried.
            try:
                return self._identify(token, key.algorithm, key.material)
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError as error:
                raise _refusal(error) from None
        raise _invalid(
            TokenOutcome.BAD_SIGNATURE, "its signature is not of a key that is trusted here"
        )

    def _identify(self, token: str, algorithm: str, material: Any) -> Identity:
        claims = self._jwt.decode(
            token,
            key=material,
            # The key's own algorithm only, whatever the token says.
            algorithms=[algorithm],
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway_s,
            options={"require": ["exp"]},
        )
        try:
            grants = parse_grants(claims.get(CLAIM))
        except ValueError as error:
            raise _invalid(TokenOutcome.BAD_CLAIM, str(error)) from None
        return Identity(
            str(claims.get("sub", "")), grants, float(int(claims["exp"])) + self._leeway_s
        )


def _refusal(error: jwt.PyJWTError) -> UnauthenticatedError:
    for kind, (outcome, meaning) in REFUSALS.items():
        if isinstance(error, kind):
            return _invalid(outcome, meaning)
    if isinstance(error, jwt.MissingRequiredClaimError):
        return _invalid(TokenOutcome.BAD_CLAIM, f"it has no claim {error.claim!r}")
    return _invalid(TokenOutcome.MALFORMED, "it is malformed")


def _invalid(outcome: TokenOutcome, why: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        f"the token is not accepted: {why}", error=INVALID, token_outcome=outcome
    )
