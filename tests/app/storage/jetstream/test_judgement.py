from __future__ import annotations

from riptide.storage.jetstream.findings import Level
from riptide.storage.jetstream.judgement import judge, unreachable
from tests.app.storage.jetstream.some_facts import WISHES, good_facts, worst


def test_a_cluster_as_it_should_be_has_nothing_but_good_findings() -> None:
    report = judge(good_facts(), WISHES)
    assert worst(report.findings) == []
    assert {each.about for each in report.findings} == {
        "version",
        "servers",
        "jetstream",
        "stream",
        "replicas",
        "leader",
        "max_payload",
        "room",
        "retention",
        "clock",
        "permissions",
        "foreign",
        "sync",
    }
    assert report.worth.startswith("3 replicas, sync_interval always")


def test_the_replicas_of_a_stream_that_is_not_there_are_those_of_the_settings() -> None:
    report = judge(good_facts(stream=None, is_there_no_stream=True, clock=None), WISHES)
    assert worst(report.findings) == []
    assert report.worth.startswith("3 replicas")


def test_without_a_server_there_is_one_finding() -> None:
    ((level, about, text),) = unreachable("nobody").findings
    assert (level, about, text) == (Level.WRONG, "connection", "nobody")
