from __future__ import annotations

import pytest

from riptide.access.hosts import Hosts
from riptide.errors import UnknownHostError
from tests.asgi import http_scope


def _check(hosts: Hosts, host: str) -> None:
    hosts.check(http_scope("GET", "/topics/a", headers=[("Host", host)]))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8080",
        "riptide.localhost:80",
        "127.0.0.1",
        "127.8.8.8:1",
        "[::1]:8080",
        "feed.internal",
        "Feed.Internal:443",
    ],
)
def test_the_names_of_loopback_and_those_allowed_are_ours(host: str) -> None:
    _check(Hosts(["feed.internal"]), host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example#localhost",
        "evil.example/localhost",
        "localhost@evil.example",
        "192.0.2.1",
        "[::2]",
        "[::1",
        ":8080",
    ],
)
def test_any_other_is_told_what_to_do(host: str) -> None:
    with pytest.raises(UnknownHostError, match="RIPTIDE_ALLOWED_HOSTS"):
        _check(Hosts(["feed.internal"]), host)


def test_a_program_need_not_say_what_it_asks_for() -> None:
    Hosts([]).check(http_scope("GET", "/topics/a"))
    _check(Hosts([]), "")


def test_any_may_be_allowed() -> None:
    _check(Hosts(["*"]), "evil.example")
