from __future__ import annotations

from riptide.storage.jetstream.facts import Facts
from tests.app.storage.jetstream.some_facts import good_facts


def test_servers_are_known_by_connections_by_the_stream_and_by_what_they_tell() -> None:
    assert good_facts().server_names() == {"n1", "n2", "n3"}
    assert good_facts(servers=[], states=[]).server_names() == {"n1", "n2", "n3"}
    assert good_facts(servers=[], stream=None).server_names() == {"n1", "n2", "n3"}
    assert good_facts(states=[], stream=None).server_names() == {"n1", "n2", "n3"}


def test_of_a_stream_that_is_not_there_nothing_is_known() -> None:
    assert (Facts().config, Facts().cluster, Facts().server_names()) == ({}, {}, set())
    # A server without a cluster says so by nothing, or by null.
    assert good_facts(stream={"config": {}, "cluster": None}).cluster == {}
