from __future__ import annotations

import pytest

from riptide.admission.admission import Admission, Limits
from riptide.admission.client import UNKNOWN, Client
from riptide.admission.rate_limit import BURST_S
from riptide.errors import (
    AcceptRateError,
    AddressLimitError,
    AddressRateError,
    IdentityLimitError,
    ProblemError,
    PublishRateError,
)

ALICE_HERE, ALICE_THERE = Client("192.0.2.1", "alice"), Client("192.0.2.2", "alice")
BOB_HERE = Client("192.0.2.1", "bob")


def _refusal(admission: Admission, client: Client) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        admission.enter(client)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 1
    assert "RIPTIDE_" in caught.value.detail
    return caught.value


def test_an_address_gets_no_more_places_than_its_limit_and_others_still_do() -> None:
    admission = Admission(Limits(connections_per_address=2))
    admission.enter(ALICE_HERE)
    admission.enter(BOB_HERE)
    assert isinstance(_refusal(admission, BOB_HERE), AddressLimitError)
    admission.enter(ALICE_THERE)
    admission.leave(ALICE_HERE)
    admission.enter(BOB_HERE)


def test_an_identity_gets_no_more_places_than_its_limit_from_wherever() -> None:
    admission = Admission(Limits(connections_per_identity=2))
    admission.enter(ALICE_HERE)
    admission.enter(ALICE_THERE)
    assert isinstance(_refusal(admission, ALICE_HERE), IdentityLimitError)
    admission.enter(BOB_HERE)
    admission.leave(ALICE_THERE)
    admission.enter(ALICE_HERE)


def test_a_client_of_which_nothing_is_known_has_no_limits_of_its_own() -> None:
    limits = Limits(1, 1, accept_rate_per_address=1, publish_rate=1)
    admission = Admission(limits)
    for _ in range(100):
        admission.enter(UNKNOWN)
        admission.begin_publish(UNKNOWN)
        admission.charge_publish(UNKNOWN, 1000)


def test_an_address_that_opens_streams_too_fast_has_to_wait_and_others_do_not() -> None:
    admission = Admission(Limits(accept_rate_per_address=2))
    for _ in range(int(2 * BURST_S)):
        admission.enter(BOB_HERE)
        admission.leave(BOB_HERE)
    refusal = _refusal(admission, BOB_HERE)
    assert isinstance(refusal, AddressRateError)
    assert refusal.status == 429
    admission.enter(ALICE_THERE)


def test_more_streams_than_the_service_can_open_have_to_wait_whoever_asks() -> None:
    admission = Admission(Limits(accept_rate=2))
    for number in range(int(2 * BURST_S)):
        admission.enter(Client(f"192.0.2.{number}"))
    refusal = _refusal(admission, UNKNOWN)
    assert isinstance(refusal, AcceptRateError)
    assert refusal.status == 503


def test_what_is_refused_to_one_client_costs_the_others_nothing() -> None:
    admission = Admission(Limits(connections_per_address=1, accept_rate=2))
    admission.enter(BOB_HERE)
    for _ in range(100):
        assert isinstance(_refusal(admission, BOB_HERE), AddressLimitError)
    for number in range(int(2 * BURST_S) - 1):
        admission.enter(Client(f"198.51.100.{number}"))


def test_who_published_too_much_has_to_wait_as_an_identity_or_else_as_an_address() -> None:
    admission = Admission(Limits(publish_rate=10))
    admission.begin_publish(ALICE_HERE)
    admission.charge_publish(ALICE_HERE, 500)
    with pytest.raises(PublishRateError) as caught:
        admission.begin_publish(ALICE_THERE)
    assert caught.value.retry_after == 500 / 10 - BURST_S + 1
    admission.begin_publish(BOB_HERE)
    admission.begin_publish(Client("192.0.2.1"))
    # An address cannot pretend to be an identity.
    admission.begin_publish(Client("identity alice"[:9]))


def test_a_message_a_request_is_charged_once() -> None:
    admission = Admission(Limits(publish_rate=2))
    for _ in range(int(2 * BURST_S)):
        admission.begin_publish(BOB_HERE)
        admission.charge_publish(BOB_HERE, 1)
    with pytest.raises(PublishRateError):
        admission.begin_publish(BOB_HERE)
