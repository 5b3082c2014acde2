"""Each thing that can be wrong with the stream is said, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from riptide.message import NANOSECONDS
from riptide.storage.jetstream.stream_findings import about_stream
from riptide.storage.message_log import Retention
from tests.app.storage.jetstream.some_facts import WISHES, config, good_facts, worst

DAY_NS = 86_400 * NANOSECONDS


def _stream(replica: dict[str, Any] | None = None, leader: str = "n1", **changes: Any) -> Any:
    replicas = [{"name": "n2", "current": True, "active": 1} | (replica or {})]
    return {
        "config": config(**changes),
        "state": {"num_subjects": 1, "bytes": 1},
        "cluster": {"leader": leader, "replicas": replicas},
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stream": _stream(allow_direct=False)}, "wrong stream: the stream riptide is not as"),
        ({"stream": _stream(persist_mode="async")}, "wrong stream: the stream riptide is not as"),
        ({"stream": _stream(metadata={})}, "wrong stream: the stream riptide is not one of"),
        ({"stream": _stream(storage="memory")}, "wrong stream: the stream is in memory"),
        ({"stream": _stream(leader="")}, "wrong leader: the stream has no leader"),
        ({"stream": _stream({"offline": True})}, "risk replicas: the replica on n2 is not there"),
        ({"stream": _stream({"current": False})}, "risk replicas: the replica on n2 is not curr"),
        (
            {"stream": _stream({"current": False, "lag": 7})},
            "risk replicas: the replica on n2 is not current (7 b",
        ),
        (
            {"stream": _stream({"active": 20 * NANOSECONDS})},
            "risk replicas: the replica on n2 is not there (not heard for 20 s, 0 behind)",
        ),
        ({"stream": _stream(max_msg_size=1000)}, "risk max_payload: the stream refuses messages"),
        ({"stream": _stream(max_age=NANOSECONDS)}, "wrong retention: max_age of the stream is 1"),
        ({"stream": _stream(max_age=DAY_NS)}, "risk retention: max_age of the stream is 86,400"),
        ({"stream": _stream(max_age=0)}, "risk retention: the stream keeps messages for ever"),
        (
            {"stream": _stream(max_msgs_per_subject=10)},
            "wrong retention: the stream keeps 10 records of a topic",
        ),
        ({"stream": _stream(max_bytes=10)}, "risk retention: the stream deletes the oldest"),
        ({"stream": _stream(max_msgs=10)}, "risk retention: the stream deletes the oldest"),
        ({"stream": _stream(deny_purge=True)}, "risk stream: the stream has deny_purge"),
        ({"stream": _stream(deny_delete=True)}, "risk stream: the stream has deny_delete"),
        (
            {"denied": ["publish $JS.API.STREAM.PURGE.riptide"]},
            "wrong permissions: the user may not: publish $JS.API.STREAM.PURGE.riptide",
        ),
        (
            {"stream": None, "denied": ["publish $JS.API.STREAM.CREATE.riptide"]},
            "wrong permissions: the user may not: publish $JS.API.STREAM.CREATE.riptide",
        ),
        ({"foreign": ["message 7 …"]}, "wrong foreign: publishes to a topic are refused"),
    ],
)
def test_each_thing_is_said(changes: dict[str, Any], expected: str) -> None:
    found = worst(about_stream(good_facts(**changes), WISHES, 3))
    assert [line for line in found if line.startswith(expected)] != [], found
    assert len(found) == 1


def test_replicas_that_do_not_help_are_said() -> None:
    for replicas, text in ((1, "1 replica: the loss"), (2, "use 3 or 1"), (4, "use 5 or 3")):
        (line,) = worst(about_stream(good_facts(), WISHES, replicas))
        assert line.startswith("risk replicas: ")
        assert text in line
    assert worst(about_stream(good_facts(), WISHES, 5)) == []


def test_an_instance_that_would_publish_more_than_the_servers_take_is_told() -> None:
    wishes = WISHES._replace(max_message_bytes=1024 * 1024)
    (line,) = worst(about_stream(good_facts(), wishes, 3))
    assert line.startswith("risk max_payload: messages of more than 983,040 bytes are refused")
    assert "set max_payload to 1114112 or more" in line


def test_a_retention_for_ever_needs_a_stream_for_ever() -> None:
    for_ever = WISHES._replace(retention=Retention(1000, 1e12))
    (line,) = worst(about_stream(good_facts(stream=_stream(max_age=DAY_NS)), for_ever, 3))
    assert line.startswith("wrong retention: max_age of the stream is 86,400 s, less than")
    assert worst(about_stream(good_facts(stream=_stream(max_age=0)), for_ever, 3)) == []


def test_whoever_may_not_create_the_stream_needs_it_to_be_there() -> None:
    facts = good_facts(denied=["publish $JS.API.STREAM.CREATE.riptide"])
    assert worst(about_stream(facts, WISHES, 3)) == []
