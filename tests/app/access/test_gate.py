from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from riptide.access.credentials import FROM_QUERY, TokenPlaces
from riptide.access.gate import Gate
from riptide.access.grants import Action
from riptide.access.hosts import Hosts
from riptide.access.identity import ANYONE, Identity
from riptide.access.keyring import Keyring
from riptide.access.keys import secret_key
from riptide.access.origins import Origins
from riptide.access.tokens import TokenVerifier
from riptide.errors import ForbiddenError, KeysUnavailableError, OriginError, UnauthenticatedError
from riptide_telemetry import PublishOutcome, RejectReason, StreamProtocol, TokenOutcome
from tests.app.access.test_tokens import Fixed
from tests.asgi import http_scope, websocket_scope
from tests.issuer import SECRET, Issuer, bearer

if TYPE_CHECKING:
    from tests.app.recorder import Recorder

ISSUER = Issuer()
FOREIGN = ("Origin", "https://evil.example")


@pytest.fixture
async def gate(recorder: Recorder) -> Gate:
    keyring = Keyring([Fixed([secret_key(SECRET)])], 60)
    verifier = TokenVerifier(keyring, audience=None, issuer=None, leeway_s=0)
    gate = Gate(verifier, TokenPlaces("token"), Hosts(["*"]), Origins(()), recorder.lifecycle)
    await gate.open()
    return gate


@pytest.fixture
def open_gate(recorder: Recorder) -> Gate:
    return Gate(None, TokenPlaces("token"), Hosts(()), Origins(()), recorder.lifecycle)


def _post(*headers: tuple[str, str]) -> dict[str, Any]:
    return http_scope("POST", "/topics/a", headers=headers)


def _get(*headers: tuple[str, str]) -> dict[str, Any]:
    return http_scope("GET", "/topics/a", headers=headers)


def _websocket(*headers: tuple[str, str]) -> dict[str, Any]:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return websocket_scope("/topics/a", headers=raw)


def _by_header(*claims: Any) -> tuple[str, str]:
    return next(iter(bearer(ISSUER.token(*claims)).items()))


def _by_cookie() -> tuple[str, str]:
    return ("Cookie", f"token={ISSUER.token()}")


async def test_without_access_control_everybody_passes(open_gate: Gate) -> None:
    assert await open_gate.admit_publisher(_post(), "a") is ANYONE
    identity = await open_gate.admit_consumer(_get(), StreamProtocol.SSE, "a")
    assert identity.expires_at == math.inf
    await open_gate.open()
    await open_gate.run()


async def test_even_then_no_foreign_page_opens_a_websocket(
    open_gate: Gate, recorder: Recorder
) -> None:
    with pytest.raises(OriginError):
        await open_gate.admit_consumer(_websocket(FOREIGN), StreamProtocol.WEBSOCKET, "a")
    assert recorder.of("connection_rejected", "protocol", "reason") == [
        (StreamProtocol.WEBSOCKET, RejectReason.ORIGIN)
    ]


async def test_a_token_lets_its_bearer_through_until_it_expires(gate: Gate) -> None:
    published = await gate.admit_publisher(_post(_by_header()), "a")
    assert published.subject == "somebody"
    for scope in (_get(_by_header()), _get(_by_cookie()), _websocket(_by_cookie())):
        identity = await gate.admit_consumer(scope, StreamProtocol.SSE, "a")
        assert isinstance(identity, Identity)
        assert identity.expires_at < math.inf
        assert identity.grants.allow(Action.SUBSCRIBE, "a")


async def test_who_has_no_token_is_told_how_to_send_one_and_counted(
    gate: Gate, recorder: Recorder
) -> None:
    with pytest.raises(UnauthenticatedError, match=r"Bearer TOKEN, or in the cookie token") as no:
        await gate.admit_consumer(_get(), StreamProtocol.NDJSON, "a")
    assert no.value.headers() == {"WWW-Authenticate": 'Bearer realm="riptide"'}
    with pytest.raises(UnauthenticatedError):
        await gate.admit_publisher(_post(), "a")
    assert recorder.of("connection_rejected", "protocol", "reason") == [
        (StreamProtocol.NDJSON, RejectReason.UNAUTHENTICATED)
    ]
    assert recorder.of("messages_published", "outcome", "count") == [
        (PublishOutcome.UNAUTHENTICATED, 1)
    ]


async def test_what_a_token_does_not_grant_is_forbidden_and_counted(
    gate: Gate, recorder: Recorder
) -> None:
    header = _by_header({"subscribe": ["other"], "publish": ["out.*"]})
    with pytest.raises(ForbiddenError, match="to subscribe to 'a'") as refusal:
        await gate.admit_consumer(_get(header), StreamProtocol.SSE, "a")
    assert 'error="insufficient_scope"' in refusal.value.headers()["WWW-Authenticate"]
    with pytest.raises(ForbiddenError, match="to publish to 'out'"):
        await gate.admit_publisher(_post(header), "out")
    assert await gate.admit_publisher(_post(header), "out.a")
    assert recorder.of("connection_rejected", "protocol", "reason") == [
        (StreamProtocol.SSE, RejectReason.FORBIDDEN)
    ]
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.FORBIDDEN, 1)]


async def test_a_foreign_page_publishes_nothing_on_the_cookie_of_who_looks_at_it(
    gate: Gate, recorder: Recorder
) -> None:
    with pytest.raises(OriginError):
        await gate.admit_publisher(_post(_by_cookie(), FOREIGN), "a")
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.FORBIDDEN, 1)]
    # With a header of its own it is no longer the browser that speaks.
    assert await gate.admit_publisher(_post(_by_header(), FOREIGN), "a")
    own = ("Origin", "http://localhost"), ("Host", "localhost")
    assert await gate.admit_publisher(_post(_by_cookie(), *own), "a")


async def test_a_token_in_the_query_is_taken_only_where_that_is_switched_on(
    gate: Gate, recorder: Recorder
) -> None:
    scope = _get() | {FROM_QUERY: ISSUER.token()}
    with pytest.raises(UnauthenticatedError, match="in the query"):
        await gate.admit_consumer(scope, StreamProtocol.SSE, "a")
    gate = Gate(
        gate._verifier,
        TokenPlaces("token", in_query=True),
        Hosts(["*"]),
        Origins(()),
        recorder.lifecycle,
    )
    assert await gate.admit_consumer(scope, StreamProtocol.SSE, "a")


async def test_a_better_token_in_a_worse_place_does_not_help(gate: Gate) -> None:
    scope = _get(("Authorization", "Bearer bad"), _by_cookie())
    with pytest.raises(UnauthenticatedError):
        await gate.admit_consumer(scope, StreamProtocol.SSE, "a")


async def test_without_keys_nobody_is_let_in_and_it_is_counted(recorder: Recorder) -> None:
    verifier = TokenVerifier(Keyring([], 60), audience=None, issuer=None, leeway_s=0)
    gate = Gate(verifier, TokenPlaces("token"), Hosts(["*"]), Origins(()), recorder.lifecycle)
    with pytest.raises(KeysUnavailableError):
        await gate.admit_consumer(_get(_by_header()), StreamProtocol.SSE, "a")
    assert recorder.of("connection_rejected", "protocol", "reason") == [
        (StreamProtocol.SSE, RejectReason.UNAUTHENTICATED)
    ]
    assert recorder.of("token_checked", "outcome") == [(TokenOutcome.KEYS_UNAVAILABLE,)]


async def test_each_check_of_a_token_is_counted_once_whoever_sent_it_and_however_it_ended(
    gate: Gate, open_gate: Gate, recorder: Recorder
) -> None:
    """No check is missing: not that of a token known already, nor of a token without the grant."""
    header = _by_header({"publish": ["b"], "subscribe": ["b"]})
    await gate.admit_publisher(_post(header), "b")
    await gate.admit_publisher(_post(header), "b")
    with pytest.raises(ForbiddenError):
        await gate.admit_consumer(_get(header), StreamProtocol.SSE, "a")
    with pytest.raises(UnauthenticatedError):
        await gate.admit_lister(_get(("Authorization", "Bearer bad")))
    # Neither is a check of a token.
    with pytest.raises(UnauthenticatedError):
        await gate.admit_publisher(_post(), "b")
    await open_gate.admit_publisher(_post(header), "b")
    outcomes = [outcome for (outcome,) in recorder.of("token_checked", "outcome")]
    assert outcomes == [TokenOutcome.ACCEPTED] * 3 + [TokenOutcome.MALFORMED]


async def test_the_age_of_keys_is_that_of_the_keyring_and_0_without_one(
    gate: Gate, open_gate: Gate
) -> None:
    assert open_gate.keys_age_s() == 0
    assert gate._verifier is not None
    gate._verifier.keyring._clock = lambda: math.inf
    assert gate.keys_age_s() == math.inf


async def test_who_may_read_some_topics_may_list_them_and_refusals_are_no_streams(
    gate: Gate, open_gate: Gate, recorder: Recorder
) -> None:
    assert await open_gate.admit_lister(_get()) is ANYONE
    header = _by_header({"subscribe": ["news"]})
    identity = await gate.admit_lister(_get(header))
    assert identity.grants.allow(Action.SUBSCRIBE, "news")
    with pytest.raises(ForbiddenError, match="to any topic"):
        await gate.admit_lister(_get(_by_header({"publish": ["*"]})))
    with pytest.raises(UnauthenticatedError):
        await gate.admit_lister(_get())
    assert recorder.of("connection_rejected") == []
