from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest

from riptide.settings.settings import load_settings
from riptide.storage.jetstream.options import JetStreamOptions, options_of


@pytest.mark.parametrize(
    ("urls", "named"),
    [
        (["nats://127.0.0.1:4222"], "127.0.0.1:4222"),
        (["nats://n1:4222", "tls://n2:4223"], "n1:4222, n2:4223"),
        (["nats://user:secret@n1:4222"], "n1:4222"),
        (["nats://user:se@cret@n1:4222"], "n1:4222"),
        (["nats://user:se//cret@n1:4222"], "n1:4222"),
        (["secret@n1:4222", "n2"], "n1:4222, n2"),
        (["nats://[::1]:4222"], "[::1]:4222"),
    ],
)
def test_servers_are_named_without_their_passwords(urls: list[str], named: str) -> None:
    assert JetStreamOptions(urls).named_urls() == named


def test_options_that_are_not_given_are_those_of_a_cluster_of_three_on_this_machine() -> None:
    options = JetStreamOptions()
    assert options.named_urls() == "127.0.0.1:4222"
    assert (options.stream, options.replicas) == ("riptide", 3)


def test_options_do_not_change() -> None:
    options = JetStreamOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.stream = "other"  # type: ignore[misc]  # that is what is tested


def test_options_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "URLS": "nats://n1:4222,nats://n2:4222",
        "STREAM": "other",
        "REPLICAS": "5",
        "USER": "u",
        "PASSWORD_FILE": "p",
        "DOMAIN": "d",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"RIPTIDE_JETSTREAM_{name}", value)
    options = options_of(load_settings())
    assert options.named_urls() == "n1:4222, n2:4222"
    assert (options.stream, options.replicas, options.user, options.domain) == (
        "other",
        5,
        "u",
        "d",
    )
    assert options.password_file == Path("p")
    assert (options.append_timeout_s, options.instance) == (15, socket.gethostname())
