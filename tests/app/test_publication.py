from __future__ import annotations

import time

from riptide.message import Acceptance, MessageId
from riptide.publication import Publication


def test_payloads_become_messages_with_neighbouring_numbers_and_one_moment() -> None:
    publication = Publication("a", [b"1", b"22", b"333"], Acceptance(7, 8), "a trace")
    messages = publication.messages(MessageId("0a1b2c3d", 41))
    assert [message.id for message in messages] == [
        MessageId("0a1b2c3d", sequence) for sequence in (41, 42, 43)
    ]
    assert [message.payload for message in messages] == [b"1", b"22", b"333"]
    assert {(each.accepted_at, each.accepted_ns, each.traceparent) for each in messages} == {
        (7, 8, "a trace")
    }
    assert publication.size_bytes() == 6


def test_a_receipt_has_the_ids_of_the_first_and_the_last_payload() -> None:
    publication = Publication("a", [b"1", b"2", b"3"], Acceptance(0, 0))
    receipt = publication.receipt("0a1b2c3d", 10)
    assert receipt == (MessageId("0a1b2c3d", 10), MessageId("0a1b2c3d", 12))


def test_now_is_this_moment_on_both_clocks() -> None:
    before = time.time_ns(), time.monotonic_ns()
    accepted = Publication.now("a", [b"1"]).accepted
    # Unix time may be set back in between; the monotonic clock cannot be.
    assert before[1] <= accepted.monotonic_ns <= time.monotonic_ns()
    assert abs(accepted.unix_ns - before[0]) < 3600 * 1_000_000_000
