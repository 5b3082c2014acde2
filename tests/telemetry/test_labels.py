from __future__ import annotations

import re

import pytest

import riptide_telemetry
from riptide_telemetry import labels
from riptide_telemetry.labels import (
    ClosedSet,
    CloseReason,
    ErrorType,
    StreamOutcome,
    StreamProtocol,
)

ENUMS: list[type[ClosedSet]] = [
    value
    for value in vars(labels).values()
    if isinstance(value, type) and issubclass(value, ClosedSet) and value is not ClosedSet
]


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: str(enum.__name__))
def test_values_are_short_lower_case_words(enum: type[ClosedSet]) -> None:
    for member in enum:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", member.value)
        assert str(member) == member.value == member.name.lower()


def test_the_protocols_have_their_former_name_at_the_door_as_well() -> None:
    assert riptide_telemetry.Protocol is riptide_telemetry.StreamProtocol is StreamProtocol


def test_there_are_exactly_three_protocols() -> None:
    assert list(map(str, StreamProtocol)) == ["ndjson", "sse", "websocket"]


@pytest.mark.parametrize("reason", CloseReason)
def test_an_end_is_an_error_exactly_if_its_streams_failed(reason: CloseReason) -> None:
    assert (reason.error_type is not None) == (reason.outcome is StreamOutcome.FAILED)


@pytest.mark.parametrize("reason", CloseReason)
def test_each_end_has_a_registered_close_code_and_says_what_it_means(reason: CloseReason) -> None:
    assert reason.websocket_code in {1000, 1003, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 3000}
    assert len(reason.meaning.split()) > 3


def test_a_client_that_broke_the_protocol_is_not_asked_to_come_back() -> None:
    faulty = [reason for reason in CloseReason if reason.error_type is ErrorType.PROTOCOL]
    assert faulty
    assert not any(reason.reconnect for reason in faulty)


def test_a_fault_of_the_server_asks_the_client_to_come_back() -> None:
    assert CloseReason.DRAINING.reconnect
    assert CloseReason.INTERNAL_ERROR.reconnect
    assert CloseReason.LOG_FAILURE.reconnect


def test_a_close_reason_can_be_found_by_its_label() -> None:
    assert {reason: reason.name for reason in CloseReason}["draining"] == "DRAINING"  # type: ignore[index]  # a plain string is the case
    assert CloseReason.DRAINING.websocket_code == 1012


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: str(enum.__name__))
def test_a_member_is_its_value_wherever_a_string_is_used(enum: type[ClosedSet]) -> None:
    for member in enum:
        assert member == member.value
        assert hash(member) == hash(member.value)
        assert f"{member}" == "{}".format(member) == "%s" % member == member.value  # noqa: UP031, UP032  # each way is a case
        assert type(str(member)) is str
